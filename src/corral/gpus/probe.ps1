# This host's GPUs, and what holds their memory: a part of the one probe, which has given GpuFields and ProcessFields.

# NVIDIA's driver puts it into System32; drivers before 2020 had a directory of their own (nvidia-smi(1), Windows).
function Find-Smi {
    foreach ($place in "$env:SystemRoot\System32\nvidia-smi.exe", "$env:ProgramFiles\NVIDIA Corporation\NVSMI\nvidia-smi.exe") {
        if (Test-Path -LiteralPath $place -PathType Leaf) { return $place }
    }
    ''
}

# GpuFields, or as many of them as this nvidia-smi knows: for one that it does not know it refuses the whole question.
function Get-SmiText([string]$Smi) {
    $fields = @($GpuFields.Split(','))
    while ($true) {
        $lines = @(Invoke-Native $Smi @("--query-gpu=$($fields -join ',')", '--format=csv,noheader,nounits'))
        $text = @($lines + $script:NativeErrors) -join "`n"
        if (-not ($text -match 'Field "([^"]+)" is not a valid field')) { break }
        $refused = $Matches[1]
        if ($fields -notcontains $refused) { break }
        $fields = @($fields | Where-Object { $_ -ne $refused })
    }
    $answer = "@fields $($fields -join ',')`n$text`n"
    if ($script:NativeExit -ne 0) { $answer += "@failed $($script:NativeExit)`n" }
    $answer
}

Look 'nvidia' {
    $smi = Find-Smi
    if ($smi) {
        [ordered]@{
            gpus = Get-SmiText $smi
            processes = @(Invoke-Native $smi @("--query-compute-apps=$ProcessFields", '--format=csv,noheader,nounits')) -join "`n"
        }
    } else { $null }
}
# All display adapters: AdapterRAM of Win32_VideoController is a 32-bit number (learn.microsoft.com), this one has 64. What
# drivers write there: learn.microsoft.com, "Registering Hardware Information"; this value is their own addition to it.
Look-Each 'adapters' {
    $class = 'HKLM:\SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}'
    Get-RegistryKeyName $class | Where-Object { $_ -match '^\d{4}$' } | ForEach-Object {
        [ordered]@{
            name = [string](Get-RegistryData "$class\$_" 'DriverDesc')
            device = [string](Get-RegistryData "$class\$_" 'MatchingDeviceId')
            driver = [string](Get-RegistryData "$class\$_" 'DriverVersion')
            memory = [string](Get-RegistryData "$class\$_" 'HardwareInformation.qwMemorySize')
        }
    }
}
Look-Each 'runners' {
    Get-ChildItem -Path (Join-Path -Path $Programs -ChildPath "$($found['ollama']['current'])\lib\ollama\*\*ggml-*.dll") `
        -ErrorAction SilentlyContinue | Where-Object { $_.Name -match 'ggml-(cuda|hip|vulkan)' } |
        ForEach-Object { [string]$_.Directory.Name }
}

$found['failed'] = $failed
Emit-Json 'result' $found
