param([string[]]$Links, [long[]]$Processes)
# Ends an Ollama that runs for a user and has been installed for that user alone, and removes what starts its tray
# program at login (ollama, app/cmd/app/app_windows.go). Its models stay, and so does the program.
foreach ($id in $Processes) {
    Stop-Process -Id $id -Force -ErrorAction SilentlyContinue
}
foreach ($link in $Links) {
    if (Test-Path -LiteralPath $link) { Remove-Item -LiteralPath $link -Force }
}
