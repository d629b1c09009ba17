# Sets a value of the registry, whose text says it as its kind does: numbers in decimal, binary in base64. What .NET takes
# for each kind: learn.microsoft.com, "RegistryKey.SetValue".
param([string]$Path, [string]$Name, [string]$Kind, [string[]]$Value)

$stored = switch ($Kind) {
  'DWord' { [int]$Value[0] }
  'QWord' { [long]$Value[0] }
  'Binary' { , [Convert]::FromBase64String($Value[0]) }
  'MultiString' { , $Value }
  default { $Value[0] }
}
Set-RegistryValue $Path $Name $stored $Kind
