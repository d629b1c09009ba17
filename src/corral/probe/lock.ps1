param([string]$Directory, [string]$Token, [string]$Holder)
# Holds the host's lock until the connection ends: standard input brings a line every few seconds, and when it ends or
# is silent for a minute, what the run has started and not ended is ended here (sshd lets it run on: Win32-OpenSSH
# issue 1751), before another run may begin. Runs no program while it waits.

function Open-Alone([string]$Path) { [IO.File]::Open($Path, 'OpenOrCreate', 'ReadWrite', 'None') }
function Open-Input { [Console]::OpenStandardInput() }
# 1: something came; 0: nothing within the time; -1: the end.
function Wait-Input($Stream, [ref]$Pending, [int]$Milliseconds) {
    if (-not $Pending.Value) { $Pending.Value = $Stream.ReadAsync($script:buffer, 0, 64) }
    if (-not $Pending.Value.Wait($Milliseconds)) { return 0 }
    $count = $Pending.Value.Result
    $Pending.Value = $null
    if ($count -gt 0) { 1 } else { -1 }
}

# Ends what a run has registered and is still at work, with all that it has started.
function Stop-Registered([string]$Run) {
    if (-not (Test-Path -LiteralPath $Run)) { return }
    Get-ChildItem -LiteralPath $Run -File | ForEach-Object {
        $id = [int]($_.BaseName)
        # Another process may have got the number since.
        if ($id -ne $PID -and (Read-TextFile $_.FullName) -eq (Get-StartOf $id)) {
            $null = Invoke-Native 'taskkill.exe' @('/F', '/T', '/PID', "$id")
        }
    }
    Remove-Item -LiteralPath $Run -Recurse -Force
}

if (-not (Test-Elevated)) {
    Fail 'rights' 'the ssh user is not an administrator here' 'Put it into the group Administrators, or log in as one'
}
$null = New-Item -Path $Directory -ItemType Directory -Force
$record = Join-Path -Path $Directory -ChildPath 'holder.txt'
try { $lock = Open-Alone (Join-Path -Path $Directory -ChildPath 'lock') } catch [IO.IOException] {
    $who = $(if (Test-Path -LiteralPath $record) { (Read-TextFile $record).Trim() } else { 'by somebody' })
    Fail 'busy' "another corral run is at work on this host ($who)" 'Wait until it has ended, then run again'
}
$mine = Join-Path -Path (Join-Path -Path $Directory -ChildPath 'running') -ChildPath $Token
try {
    # What a run left here whose lock was ended together with it.
    $before = Join-Path -Path $Directory -ChildPath 'running'
    if (Test-Path -LiteralPath $before) {
        Get-ChildItem -LiteralPath $before -Directory | ForEach-Object { Stop-Registered $_.FullName }
    }
    $null = New-Item -Path $mine -ItemType Directory -Force
    Write-TextFile $record "$Holder`n"
    Emit 'locked' $mine
    $script:buffer = New-Object byte[] 64
    $stream = Open-Input
    $pending = $null
    while ((Wait-Input $stream ([ref]$pending) 60000) -eq 1) { }
} finally {
    Stop-Registered $mine
    Remove-Item -LiteralPath $record -Force -ErrorAction SilentlyContinue
    $lock.Dispose()
}
