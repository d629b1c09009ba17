param([string]$TaskPath, [string]$TaskName, [string]$Xml)
# Registers the scheduled task that Xml describes, in place of one of the same name.
$null = Register-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName -Xml $Xml -Force
