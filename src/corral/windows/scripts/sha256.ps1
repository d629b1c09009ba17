# A file's SHA-256, or null.
param([string]$Path)

$sum = $null
if (Test-Path -LiteralPath $Path -PathType Leaf) { $sum = (Get-FileHash -LiteralPath $Path -Algorithm SHA256).Hash }
Emit-Json 'result' $sum
