# Sets a variable of the machine's environment, or removes it. Only REG_EXPAND_SZ is expanded (learn.microsoft.com,
# "Registry Value Types").
param([string]$Variable, [string]$Value, [bool]$Present)

if ($Present) {
  $kind = if ($Value.Contains('%')) { 'ExpandString' } else { 'String' }
  Set-RegistryValue $script:MachineEnvironment $Variable $Value $kind
}
else {
  Remove-RegistryValue $script:MachineEnvironment $Variable
}
Send-EnvironmentChange
