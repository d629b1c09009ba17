param([string[]]$Paths, [string[]]$Empty)
# Removes files and directories, whole, and those directories in Empty that nothing is in, in this order.
foreach ($path in $Paths) {
    if (Test-Path -LiteralPath $path) { Remove-Item -LiteralPath $path -Recurse -Force }
}
foreach ($path in $Empty) {
    if ((Test-Path -LiteralPath $path) -and @(Get-ChildItem -LiteralPath $path -Force).Count -eq 0) {
        Remove-Item -LiteralPath $path -Force
    }
}
