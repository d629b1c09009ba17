# Makes a directory, and those above it; with -Force one that is there is no error, and stays (learn.microsoft.com,
# "New-Item").
param([string]$Path)

$null = New-Item -ItemType Directory -Force -Path $Path
