# The machine's environment as it is stored: with %variables% in it, and what kind of value each is.
$found = @{}
foreach ($name in Get-RegistryValueName $script:MachineEnvironment) {
  $found[$name] = Get-RegistryValue $script:MachineEnvironment $name
}
Emit-Json 'result' $found
