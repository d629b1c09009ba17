# Which Windows this is.
$current = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
$found = @{}
foreach ($name in 'CurrentBuildNumber', 'UBR', 'EditionID', 'InstallationType', 'DisplayVersion') {
  $value = Get-RegistryValue $current $name
  $found[$name] = if ($null -eq $value) { $null } else { $value.Value }
}
# The process has another one where it is emulated (learn.microsoft.com, "WOW64 Implementation Details").
$found['architecture'] = (Get-RegistryValue $script:MachineEnvironment 'PROCESSOR_ARCHITECTURE').Value
$found['language'] = (Get-UICulture).Name
$found['elevated'] = Test-Elevated
$found['powershell'] = $PSVersionTable.PSVersion.ToString()
Emit-Json 'result' $found
