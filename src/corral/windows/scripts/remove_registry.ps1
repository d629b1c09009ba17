# Removes a value of the registry.
param([string]$Path, [string]$Name)

Remove-RegistryValue $Path $Name
