# Removes a file, or a directory and all that is in it.
param([string]$Path)

if (Test-Path -LiteralPath $Path) { Remove-Item -LiteralPath $Path -Recurse -Force }
