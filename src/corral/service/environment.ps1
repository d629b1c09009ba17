param([string[]]$Names, [string[]]$Values, [string[]]$Remove, [string]$Registry, [string]$PathEntry, [string]$PathAction)
# Sets variables of the machine's environment, and removes those in Remove, which corral has set before. What was there
# under a name before corral's value is noted below Registry, and comes back when that is removed. PathAction: add or
# remove PathEntry at the end of the machine's Path, or nothing.
$machine = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment'
$owned = "$Registry\Environment"

for ($number = 0; $number -lt $Names.Count; $number++) {
    $name = $Names[$number]
    $before = Get-RegistryData $machine $name
    if (@(Get-RegistryValueName $owned) -notcontains $name) {
        # A value that was there is kept behind a mark, so that an empty one differs from none.
        Set-RegistryValue $owned $name $(if ($null -eq $before) { '' } else { "=$before" }) 'String'
    }
    $kind = $(if ($Values[$number].Contains('%')) { 'ExpandString' } else { 'String' })
    Set-RegistryValue $machine $name $Values[$number] $kind
}
foreach ($name in $Remove) {
    $before = [string](Get-RegistryData $owned $name)
    if ($before.StartsWith('=')) {
        $text = $before.Substring(1)
        Set-RegistryValue $machine $name $text $(if ($text.Contains('%')) { 'ExpandString' } else { 'String' })
    } else {
        Remove-RegistryValue $machine $name
    }
    Remove-RegistryValue $owned $name
}
if ($PathAction) {
    $parts = @(([string](Get-RegistryData $machine 'Path')).Split(';') | Where-Object { $_ -ne '' -and $_ -ne $PathEntry })
    if ($PathAction -eq 'add') {
        # Noted first: a run that ends in between is repeated, and nothing is left that nobody knows of.
        Set-RegistryValue $Registry 'Path' $PathEntry 'String'
        $parts += $PathEntry
    }
    # As Windows' own setup stores it: with %SystemRoot% in it (learn.microsoft.com, "Registry Value Types").
    Set-RegistryValue $machine 'Path' ($parts -join ';') 'ExpandString'
    if ($PathAction -eq 'remove') { Remove-RegistryValue $Registry 'Path' }
}
if (@(Get-RegistryValueName $owned).Count -eq 0 -and @(Get-RegistryValueName $Registry).Count -eq 0) {
    Remove-RegistryKey $Registry
}
Send-EnvironmentChange
