# A service, or null.
param([string]$Name)

$service = Get-Service -Name $Name -ErrorAction SilentlyContinue
if ($null -eq $service) { Emit-Json 'result' $null; return }
Emit-Json 'result' @{
  name = $service.Name; display_name = $service.DisplayName; status = "$($service.Status)"
  start_type = "$($service.StartType)"
}
