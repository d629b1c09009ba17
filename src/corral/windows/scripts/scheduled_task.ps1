# The XML of a scheduled task, or null.
param([string]$Folder, [string]$Name)

$task = Get-ScheduledTask -TaskPath $Folder -TaskName $Name -ErrorAction SilentlyContinue
$xml = $null
if ($null -ne $task) { $xml = Export-ScheduledTask -TaskPath $Folder -TaskName $Name }
Emit-Json 'result' $xml
