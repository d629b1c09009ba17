param(
    [string]$Key,
    [string[]]$From = @('LocalSubnet', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fe80::/10')
)
# Turns on Windows' own OpenSSH Server on a new machine, for administrators who have the private half of Key, from the
# networks in From. Run once, in a PowerShell that was started as administrator; run again, it changes nothing:
#
#   powershell.exe -ExecutionPolicy Bypass -File enable-ssh.ps1 -Key "ssh-ed25519 AAAA... you@yours"
#
# What it does: installs the capability OpenSSH.Server, starts sshd now and at every boot, lets port 22 in from those
# networks, and puts the key into administrators_authorized_keys, which sshd reads only when nobody but SYSTEM and
# Administrators may open it (learn.microsoft.com, "Get started with OpenSSH for Windows" and "Key-based authentication").
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Read-Lines([string]$Path) { if (Test-Path -LiteralPath $Path) { [IO.File]::ReadAllLines($Path) } }
function Write-Lines([string]$Path, [string[]]$Lines) {
    [IO.File]::WriteAllLines($Path, $Lines, (New-Object -TypeName System.Text.UTF8Encoding -ArgumentList $false))
}

if ($Key -notmatch '^(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+') { throw 'Key is no public key: give the one line of your id_ed25519.pub' }
$capability = 'OpenSSH.Server~~~~0.0.1.0'
if ([string](Get-WindowsCapability -Online -Name $capability).State -ne 'Installed') {
    $null = Add-WindowsCapability -Online -Name $capability
}
Set-Service -Name 'sshd' -StartupType Automatic
Start-Service -Name 'sshd'

$rule = 'OpenSSH-Server-In-TCP'
if (Get-NetFirewallRule -Name $rule -ErrorAction SilentlyContinue) {
    Set-NetFirewallRule -Name $rule -Enabled True -Profile Any -RemoteAddress $From
} else {
    $null = New-NetFirewallRule -Name $rule -DisplayName 'OpenSSH SSH Server (sshd)' -Enabled True -Direction Inbound `
        -Protocol TCP -LocalPort '22' -Action Allow -Profile Any -RemoteAddress $From
}

$file = Join-Path -Path $env:ProgramData -ChildPath 'ssh\administrators_authorized_keys'
$lines = @(Read-Lines $file)
if ($lines -notcontains $Key) { Write-Lines $file ($lines + $Key) }
# Administrators and SYSTEM by their SIDs: the names are translated (learn.microsoft.com, "Well-known SIDs").
$null = & icacls.exe $file /inheritance:r /grant:r '*S-1-5-32-544:F' '*S-1-5-18:F' /q
if ($LASTEXITCODE -ne 0) { throw "icacls.exe ended with $LASTEXITCODE" }
"Done. From your machine: ssh $env:USERNAME@$env:COMPUTERNAME"
