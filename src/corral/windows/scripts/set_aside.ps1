# Moves what is at a path out of the way, under a name that is not taken.
param([string]$Path, [string]$Directory)

if (-not $Directory) { $Directory = Split-Path -Parent -Path $Path }
$backup = Join-Path -Path $Directory -ChildPath "$(Split-Path -Leaf -Path $Path).$(Get-Date -Format 'yyyyMMddHHmmss')"
Move-Item -LiteralPath $Path -Destination $backup
