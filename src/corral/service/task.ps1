param([string]$TaskPath, [string]$TaskName, [string]$Xml)
# Registers the scheduled task that Xml describes, in place of one of the same name. Only administrators may register one
# that starts at boot (learn.microsoft.com, "ITaskFolder::RegisterTask").
$null = Register-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName -Xml $Xml -Force
