# A value of the registry as it is stored, or null.
param([string]$Path, [string]$Name)

Emit-Json 'result' (Get-RegistryValue $Path $Name)
