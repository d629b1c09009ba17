# Makes a directory, and those above it.
param([string]$Path)

$null = New-Item -ItemType Directory -Force -Path $Path
