param([string]$Directory, [string]$Token, [string]$Holder)
# Holds the host's lock until the connection ends: standard input brings a line every few seconds, and when it ends or
# is silent for a minute, what the run has started and not ended is ended here (sshd lets it run on: Win32-OpenSSH
# issue 1751), before another run may begin. Runs no program while it waits.

# None: whoever else opens it meanwhile gets an IOException (learn.microsoft.com, "FileShare"). Windows closes it with the
# process, however that ends.
function Open-Alone([string]$Path) { [IO.File]::Open($Path, 'OpenOrCreate', 'ReadWrite', 'None') }
# Returns when the input has ended, or brought nothing for a minute.
function Wait-ForSilence {
    $stream = [Console]::OpenStandardInput()
    $buffer = New-Object -TypeName 'byte[]' -ArgumentList 64
    do { $reading = $stream.ReadAsync($buffer, 0, 64) } while ($reading.Wait(60000) -and $reading.Result -gt 0)
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
# In ProgramData everybody may make directories, with this name too, and files in those of others (icacls C:\ProgramData).
Protect-Path $Directory
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
    Wait-ForSilence
} finally {
    Stop-Registered $mine
    Remove-Item -LiteralPath $record -Force -ErrorAction SilentlyContinue
    $lock.Dispose()
    # Nothing is left of a run, unless another has begun already.
    foreach ($path in (Join-Path -Path $Directory -ChildPath 'running'), (Join-Path -Path $Directory -ChildPath 'lock')) {
        Remove-Item -LiteralPath $path -Force -ErrorAction SilentlyContinue
    }
    if (@(Get-ChildItem -LiteralPath $Directory -Force -ErrorAction SilentlyContinue).Count -eq 0) {
        Remove-Item -LiteralPath $Directory -Force -ErrorAction SilentlyContinue
    }
}
