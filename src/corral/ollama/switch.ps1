param([string]$Directory, [string]$Program, [string]$Current, [string]$Command, [string]$Shim)
# Makes the release in Directory the one in use: its name goes into Current, in one rename; Command runs that one.
if (-not (Test-Path -LiteralPath (Join-Path -Path $Directory -ChildPath $Program) -PathType Leaf)) {
    Fail 'release' "$Directory holds no $Program" 'Remove that directory and run again'
}
Write-TextFile $Current "$(Split-Path -Path $Directory -Leaf)`r`n"
Write-TextFile $Command $Shim
