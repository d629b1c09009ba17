param(
    [string]$Programs, [string]$Started, [string]$Secrets, [string]$TaskPath, [string]$TaskName, [string]$Start
)
# A host as it shows itself, for tests of its state: JSON, emitted as "result". By other cmdlets than the probe's, where
# there are others. Of secrets only digests.

function Get-Digest([string]$Text) {
    $bytes = [Text.Encoding]::UTF8.GetBytes($Text)
    ([BitConverter]::ToString((Get-Hash $bytes)) -replace '-', '').ToLowerInvariant()
}
function Get-Hash([byte[]]$Bytes) { , [Security.Cryptography.SHA256]::Create().ComputeHash($Bytes) }

# What people get who type ollama: the first on the machine's Path, asked itself where it leads.
$machine = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment'
$release = ''
foreach ($directory in ([string](Get-RegistryData $machine 'Path')).Split(';')) {
    $command = "$directory\ollama.cmd"
    if ($directory -and (Test-Path -LiteralPath $command -PathType Leaf)) {
        $name = ([string](Read-TextFile "$directory\current.txt")).Trim()
        if (Test-Path -LiteralPath "$directory\$name\ollama.exe" -PathType Leaf) { $release = "$directory\$name" }
        break
    }
}

$server = $null
foreach ($process in @(Get-Process -Name 'ollama' -ErrorAction SilentlyContinue)) {
    if (-not $process.Path -or -not $process.Path.StartsWith("$Programs\", 'OrdinalIgnoreCase')) { continue }
    $listens = @(Get-NetTCPConnection -State Listen -ErrorAction SilentlyContinue |
        Where-Object { $_.OwningProcess -eq $process.Id } | ForEach-Object {
            $address = $(if (([string]$_.LocalAddress).Contains(':')) { "[$($_.LocalAddress)]" } else { $_.LocalAddress })
            "${address}:$($_.LocalPort)"
        })
    if ($listens.Count -gt 0) {
        $server = [ordered]@{ pid = [int]$process.Id; path = [string]$process.Path; listens = $listens }
    }
}

$task = Get-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName -ErrorAction SilentlyContinue
$seen = [ordered]@{ state = ''; enabled = $false; user = ''; command = ''; arguments = ''; boot = $false }
if ($task) {
    $action = @($task.Actions)[0]
    # Names of accounts are translated; in a task's XML they stand as SIDs.
    $xml = [string](Export-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName)
    $seen = [ordered]@{
        state = [string]$task.State
        enabled = [bool]$task.Settings.Enabled
        user = $(if ($xml -match '<UserId>([^<]*)</UserId>') { $Matches[1] } else { '' })
        command = [string]$action.Execute
        arguments = [string]$action.Arguments
        boot = $xml -match '<BootTrigger'
    }
}

$text = [string](Read-TextFile $Secrets)
$lines = @($text.Split("`n") | Where-Object { $_ -match '^[^=]+=' } | ForEach-Object {
    [ordered]@{ name = $_.Split('=')[0]; digest = Get-Digest "$_`n" }
})
# Those who may do anything with the file.
$for = @()
if ($text) {
    $for = @((Get-Acl -LiteralPath $Secrets).GetAccessRules($true, $true, [Security.Principal.SecurityIdentifier]) |
        ForEach-Object { [string]$_.IdentityReference.Value })
}

$gpus = @()
foreach ($smi in (Find-Tool 'nvidia-smi.exe'), "$env:ProgramFiles\NVIDIA Corporation\NVSMI\nvidia-smi.exe") {
    if (Test-Path -LiteralPath $smi -PathType Leaf) {
        $gpus = @(Invoke-Native $smi @('--query-gpu=name', '--format=csv,noheader'))
        break
    }
}
if ($gpus.Count -eq 0) {
    $gpus = @(Get-CimInstance -ClassName Win32_VideoController | ForEach-Object { [string]$_.Name })
}

Emit-Json 'result' ([ordered]@{
    release = $release
    server = $server
    task = $seen
    start = [string](Read-TextFile $Start)
    started = [string](Read-TextFile $Started)
    secrets_digest = $(if ($text) { Get-Digest $text } else { '' })
    secret_lines = $lines
    secrets_for = $for
    gpus = $gpus
})
