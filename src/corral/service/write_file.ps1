param([string]$Path, [string]$Text, [bool]$Secret)
# Writes Text to Path, UTF-8 without a byte order mark, in one rename. A secret's text is never readable by others than
# SYSTEM and administrators, not even for a moment.
$null = New-Item -Path (Split-Path -Path $Path -Parent) -ItemType Directory -Force
if ($Secret) {
    # Replacing a file keeps the rights of the one that is replaced (learn.microsoft.com, "ReplaceFileW"), and the new one
    # lies in a directory of its own before.
    $safe = Join-Path -Path (Split-Path -Path $Path -Parent) -ChildPath '.secret'
    $null = New-Item -Path $safe -ItemType Directory -Force
    Protect-Path $safe
    $new = Join-Path -Path $safe -ChildPath (Split-Path -Path $Path -Leaf)
    Write-TextFile $new $Text
    Protect-Path $new
    if (Test-Path -LiteralPath $Path) { Protect-Path $Path }
    Move-Over $new $Path
    Remove-Item -LiteralPath $safe -Recurse -Force
} else { Write-TextFile $Path $Text }
