# Makes an empty file, or says of one that is there that it was written just now.
param([string]$Path)

if (Test-Path -LiteralPath $Path) { (Get-Item -LiteralPath $Path -Force).LastWriteTime = Get-Date }
else { Write-NewFile $Path @() }
