param(
    [string]$Name, [string]$Title, [string]$Group, [long]$Port, [string[]]$Addresses, [bool]$There, [string[]]$Remove
)
# Makes the rule Name, or changes it where it is There, so that it lets Addresses reach TCP Port in every profile; and
# removes the rules in Remove. Without Addresses rules are only removed. Names, unlike titles, are unique and are not
# translated (learn.microsoft.com, "New-NetFirewallRule").
foreach ($id in $Remove) {
    if (Get-NetFirewallRule -Name $id -ErrorAction SilentlyContinue) { Remove-NetFirewallRule -Name $id }
}
if ($Addresses.Count -eq 0) { return }
if ($There) {
    Set-NetFirewallRule -Name $Name -NewDisplayName $Title -Direction Inbound -Action Allow -Enabled True -Profile Any `
        -Protocol TCP -LocalPort ([string]$Port) -RemoteAddress $Addresses
} else {
    $null = New-NetFirewallRule -Name $Name -DisplayName $Title -Group $Group -Direction Inbound -Action Allow `
        -Enabled True -Profile Any -Protocol TCP -LocalPort ([string]$Port) -RemoteAddress $Addresses `
        -Description 'Made by corral; edit the inventory instead.'
}
