param([string[]]$Paths)
# Removes files and directories, whole.
foreach ($path in $Paths) {
    if (Test-Path -LiteralPath $path) { Remove-Item -LiteralPath $path -Recurse -Force }
}
