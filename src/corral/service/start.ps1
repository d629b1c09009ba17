# Made by corral; edit the inventory instead. The scheduled task \corral\ollama runs this at start-up: it starts the
# release that is in use with the machine's environment as it is then, and again three seconds after it has ended.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$programs = 'C:\Program Files\Ollama'
$state = 'C:\ProgramData\Ollama'

function Get-MachineEnvironment { [Environment]::GetEnvironmentVariables('Machine') }
function Set-ProcessVariable([string]$Name, $Value) { [Environment]::SetEnvironmentVariable($Name, $Value, 'Process') }
function Read-Text([string]$Path) {
    if (Test-Path -LiteralPath $Path -PathType Leaf) { [IO.File]::ReadAllText($Path) } else { '' }
}
function Get-Digest([string]$Text) {
    if (-not $Text) { return '' }
    $bytes = (New-Object Text.UTF8Encoding $false).GetBytes($Text)
    ([BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($bytes)) -replace '-').ToLowerInvariant()
}
function Write-Text([string]$Path, [string]$Text) {
    [IO.File]::WriteAllText($Path, $Text, (New-Object Text.UTF8Encoding $false))
}

$pattern = '^(OLLAMA_|GGML_|LLAMA_ARG_|CUDA_|HIP_|ROCR_|GPU_DEVICE|HSA_|HTTPS?_PROXY$|ALL_PROXY$|NO_PROXY$)'
while ($true) {
    # The environment of a task is that of the scheduler's own start; what was declared since is in the registry, where
    # .NET reads it (learn.microsoft.com, "Environment.GetEnvironmentVariables").
    $variables = [ordered]@{}
    $machine = Get-MachineEnvironment
    foreach ($name in @($machine.Keys | Sort-Object)) {
        if ($name -match $pattern) { $variables[$name] = [string]$machine[$name] }
    }
    foreach ($item in @(Get-ChildItem -Path 'env:' | Where-Object { $_.Name -match $pattern })) {
        Set-ProcessVariable $item.Name $null
    }
    foreach ($name in $variables.Keys) { Set-ProcessVariable $name $variables[$name] }
    $secrets = Read-Text "$state\secrets.txt"
    foreach ($line in $secrets.Split("`n")) {
        if ($line -match '^([^=]+)=(.*)$') { Set-ProcessVariable $Matches[1] $Matches[2] }
    }
    # Its key, and what drivers keep, lie with the rest of what is corral's: Go's home directory is USERPROFILE
    # (golang/go, os/file.go, UserHomeDir), from which ollama, cmd/cmd.go and envconfig/config.go, make theirs.
    foreach ($name in 'USERPROFILE', 'HOME') { Set-ProcessVariable $name "$state\home" }
    Set-ProcessVariable 'LOCALAPPDATA' "$state\home\AppData\Local"
    $null = New-Item -Path "$state\home\AppData\Local", "$state\logs" -ItemType Directory -Force
    for ($number = 4; $number -ge 0; $number--) {
        $from = "$state\logs\server$(if ($number) { ".$number" }).log"
        if (Test-Path -LiteralPath $from) {
            Move-Item -LiteralPath $from -Destination "$state\logs\server.$($number + 1).log" -Force
        }
    }
    $release = (Read-Text "$programs\current.txt").Trim()
    # Both files stay open for writing, and others may read them (PowerShell/PowerShell, Process.cs,
    # GetSafeFileHandleForRedirection).
    $server = Start-Process -FilePath "$programs\$release\ollama.exe" -ArgumentList 'serve' -NoNewWindow -PassThru `
        -RedirectStandardError "$state\logs\server.log" -RedirectStandardOutput "$state\logs\output.log"
    Write-Text "$state\started.json" (ConvertTo-Json -Depth 4 -Compress -InputObject ([ordered]@{
        pid = $server.Id
        executable = "$programs\$release\ollama.exe"
        environment = $variables
        secrets = Get-Digest $secrets
    }))
    $server.WaitForExit()
    Start-Sleep -Seconds 3
}
