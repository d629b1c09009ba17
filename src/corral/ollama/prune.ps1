param([string[]]$Directories, [string]$Removing)
# Removes releases. Each gets another name first, so that nobody takes a part of one for the whole; Windows does not allow
# that for one from which a program runs.
function Move-Directory([string]$From, [string]$To) { [IO.Directory]::Move($From, $To) }

foreach ($directory in $Directories) {
    $name = Split-Path -Path $directory -Leaf
    $target = $directory
    if (-not $name.StartsWith($Removing)) {
        $target = Join-Path -Path (Split-Path -Path $directory -Parent) -ChildPath "$Removing$name"
        Move-Directory $directory $target
    }
    Remove-Item -LiteralPath $target -Recurse -Force
}
