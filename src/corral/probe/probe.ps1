param(
    [string]$ModelsDir,
    [long]$Port,
    [string]$Programs,
    [string]$Current,
    [string]$Command,
    [string]$Stamp,
    [string]$State,
    [string]$Start,
    [string]$Started,
    [string]$Secrets,
    [string]$Modelfiles,
    [string]$TaskPath,
    [string]$TaskName,
    [string]$RuleName,
    [string]$Registry,
    [string]$GpuFields,
    [string]$ProcessFields
)
# Everything that corral wants to know of a Windows host, in one answer: JSON, emitted as "result". Changes nothing.
# What can't be found out is named in "failed", with the reason.

$found = [ordered]@{}
$failed = [ordered]@{}

function Look([string]$Name, [scriptblock]$Ask) {
    try { $found[$Name] = & $Ask } catch { $failed[$Name] = [string]$_.Exception.Message }
}

# The same where the answer is a list, which a single element is too.
function Look-Each([string]$Name, [scriptblock]$Ask) {
    try { $found[$Name] = @(& $Ask) } catch { $failed[$Name] = [string]$_.Exception.Message }
}

function Get-Text([string]$Path) {
    if (Test-Path -LiteralPath $Path -PathType Leaf) { Read-TextFile $Path } else { '' }
}

function Get-Sddl([string]$Path) {
    if (Test-Path -LiteralPath $Path) { [string](Get-Acl -LiteralPath $Path).Sddl } else { '' }
}

$version = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
$machine = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment'

# --- the system -----------------------------------------------------------------------------------

Look 'os' {
    [ordered]@{
        product = [string](Get-RegistryData $version 'ProductName')
        release = [string](Get-RegistryData $version 'DisplayVersion')
        build = [string](Get-RegistryData $version 'CurrentBuildNumber')
        revision = [string](Get-RegistryData $version 'UBR')
        # Of the machine, also where this is a 32-bit or an emulated PowerShell (learn.microsoft.com, "WOW64
        # Implementation Details").
        architecture = [string](Get-RegistryData $machine 'PROCESSOR_ARCHITECTURE')
        powershell = [string]$PSVersionTable.PSVersion
        language = [string](Get-Culture).Name
        elevated = [bool](Test-Elevated)
        # It wins over -ExecutionPolicy on a command line (learn.microsoft.com, "about_Execution_Policies").
        scripts = [string](Get-ExecutionPolicy -Scope MachinePolicy)
    }
}
Look 'boot' {
    # The start of the process System, which no setting of the clock moves (learn.microsoft.com, "Win32_Process"). The time
    # in Win32_OperatingSystem may be counted back from now, and the prefetcher's BootId is nowhere promised to rise.
    $process = Get-CimInstance -ClassName Win32_Process -Filter 'ProcessId = 4'
    $time = $(if ($process -and $process.CreationDate) { $process.CreationDate } else {
        (Get-CimInstance -ClassName Win32_OperatingSystem).LastBootUpTime
    })
    $time.ToUniversalTime().ToString('o')
}
Look-Each 'addresses' {
    Get-NetIPAddress | ForEach-Object { '{0}/{1}' -f ($_.IPAddress -replace '%.*$', ''), $_.PrefixLength }
}
Look-Each 'drives' {
    Get-CimInstance -ClassName Win32_LogicalDisk | ForEach-Object {
        [ordered]@{
            name = [string]$_.DeviceID
            kind = [int]$_.DriveType
            filesystem = [string]$_.FileSystem
            free = [string]$_.FreeSpace
        }
    }
}

# --- Ollama: ours, and others' --------------------------------------------------------------------

Look 'ollama' {
    $name = (Get-Text $Current).Trim()
    [ordered]@{
        current = $name
        command = Get-Text $Command
        start = Get-Text $Start
        started = Get-Text $Started
        secrets = Get-Text $Secrets
        secrets_sddl = Get-Sddl $Secrets
        state_sddl = Get-Sddl $State
        models_sddl = Get-Sddl $ModelsDir
    }
}
Look-Each 'releases' {
    Get-ChildItem -LiteralPath $Programs -Directory -ErrorAction SilentlyContinue | ForEach-Object {
        [ordered]@{ name = [string]$_.Name; stamp = (Get-Text (Join-Path -Path $_.FullName -ChildPath $Stamp)).Trim() }
    }
}
Look-Each 'strangers' {
    Get-ChildItem -LiteralPath $Programs -File -ErrorAction SilentlyContinue | ForEach-Object { [string]$_.Name }
}
Look-Each 'manifests' {
    $root = Join-Path -Path $ModelsDir -ChildPath 'manifests'
    if (Test-Path -LiteralPath $root -PathType Container) {
        $from = (Get-Item -LiteralPath $root).FullName.Length + 1
        Get-ChildItem -LiteralPath $root -Recurse -File |
            Where-Object { -not $_.Name.StartsWith('.') } | ForEach-Object { [string]$_.FullName.Substring($from) }
    }
}
Look-Each 'modelfiles' {
    Get-ChildItem -LiteralPath $Modelfiles -Filter '*.modelfile' -File -ErrorAction SilentlyContinue |
        ForEach-Object { [ordered]@{ name = [string]$_.Name; text = Read-TextFile $_.FullName } }
}
# Where OllamaSetup.exe puts it for one user, and what starts its tray program at that user's login (ollama,
# app/ollama.iss and app/cmd/app/app_windows.go).
Look-Each 'users_own' {
    foreach ($place in 'AppData\Local\Programs\Ollama\ollama.exe',
        'AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup\Ollama.lnk') {
        Get-ChildItem -Path (Join-Path -Path (Join-Path -Path "$env:SystemDrive\Users" -ChildPath '*') -ChildPath $place) `
            -ErrorAction SilentlyContinue | ForEach-Object { [string]$_.FullName }
    }
}
Look-Each 'processes' {
    Get-CimInstance -ClassName Win32_Process -Filter "Name LIKE 'ollama%' OR Name LIKE 'llama-server%'" | ForEach-Object {
        [ordered]@{
            pid = [int]$_.ProcessId
            parent = [int]$_.ParentProcessId
            name = [string]$_.Name
            path = [string]$_.ExecutablePath
        }
    }
}
Look-Each 'environment' {
    Get-RegistryValueName $machine | Where-Object {
        $_ -match '^(OLLAMA_|GGML_|LLAMA_ARG_|CUDA_|HIP_|ROCR_|GPU_DEVICE|HSA_|HTTPS?_PROXY$|ALL_PROXY$|NO_PROXY$|Path$)'
    } | ForEach-Object { [ordered]@{ name = [string]$_; value = [string](Get-RegistryData $machine $_) } }
}
Look-Each 'owned' { Get-RegistryValueName "$Registry\Environment" | ForEach-Object { [string]$_ } }
Look-Each 'made' {
    Get-RegistryValueName "$Registry\Directories" | ForEach-Object {
        [ordered]@{ directory = [string]$_; highest = [string](Get-RegistryData "$Registry\Directories" $_) }
    }
}
Look 'path_owned' { [string](Get-RegistryData $Registry 'Path') }

# --- the service ------------------------------------------------------------------------------------

Look 'task' {
    $task = Get-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName -ErrorAction SilentlyContinue
    if ($task) {
        [ordered]@{
            state = [string]$task.State
            xml = [string](Export-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName)
        }
    } else { [ordered]@{ state = ''; xml = '' } }
}

# --- the network ------------------------------------------------------------------------------------

Look-Each 'listeners' {
    Get-NetTCPConnection -LocalPort $Port -State Listen -ErrorAction SilentlyContinue | ForEach-Object {
        $owner = Get-Process -Id $_.OwningProcess -ErrorAction SilentlyContinue
        [ordered]@{
            address = [string]$_.LocalAddress
            pid = [int]$_.OwningProcess
            program = $(if ($owner) { [string]$owner.ProcessName } else { '' })
        }
    }
}
Look-Each 'excluded' { Invoke-Native 'netsh.exe' @('int', 'ipv4', 'show', 'excludedportrange', 'protocol=tcp') }

function Get-Rules([string]$Key) {
    foreach ($id in @(Get-RegistryValueName $Key)) {
        $text = [string](Get-RegistryData $Key $id)
        # Those for other programs and for services' own ports are no matter of ours, and there are hundreds of them. The
        # words are those of [MS-GPFAS] 2.2.2.19.
        $ours = $text -notmatch '\|(App|Svc|AppPkgId|LUOwn)=' -or $text -match '\|App=[^|]*ollama[^|]*\|'
        if ($ours -and $text -match '\|Dir=In\|' -and $text -match '\|Active=TRUE\|') {
            [ordered]@{ id = [string]$id; rule = $text }
        }
    }
}
$policies = 'HKLM:\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy'
# Of all policies together (learn.microsoft.com, "Get-NetFirewallProfile", -PolicyStore).
Look-Each 'profiles' {
    Get-NetFirewallProfile -PolicyStore ActiveStore | ForEach-Object {
        [ordered]@{
            name = [string]$_.Name
            enabled = [string]$_.Enabled
            inbound = [string]$_.DefaultInboundAction
            rules = [string]$_.AllowInboundRules
            local = [string]$_.AllowLocalFirewallRules
        }
    }
}
Look-Each 'rules' { Get-Rules "$policies\FirewallRules" }
Look-Each 'policy_rules' { Get-Rules 'HKLM:\SOFTWARE\Policies\Microsoft\WindowsFirewall\FirewallRules' }
Look 'rule' {
    $rule = Get-NetFirewallRule -Name $RuleName -ErrorAction SilentlyContinue
    if ($rule) {
        $ports = Get-NetFirewallPortFilter -AssociatedNetFirewallRule $rule
        $addresses = Get-NetFirewallAddressFilter -AssociatedNetFirewallRule $rule
        [ordered]@{
            title = [string]$rule.DisplayName
            enabled = [string]$rule.Enabled
            direction = [string]$rule.Direction
            action = [string]$rule.Action
            profile = [string]$rule.Profile
            protocol = [string]$ports.Protocol
            port = @($ports.LocalPort | ForEach-Object { [string]$_ })
            addresses = @($addresses.RemoteAddress | ForEach-Object { [string]$_ })
        }
    } else { $null }
}
