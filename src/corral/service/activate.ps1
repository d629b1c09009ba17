param(
    [string]$TaskPath, [string]$TaskName, [string]$Programs, [string]$Then,
    [string]$Address, [long]$Port, [long]$TimeoutS, [string]$Log
)
# Stops the server. Then start: starts the task, and waits until the server answers on Address:Port, for at most TimeoutS
# seconds; unregister: takes the task away, and its folder when nothing else is in it.

# Stopping a task ends the process that the task has started, and none of that one's children ([MS-TSCH] 3.2.5.4.12).
function Stop-Server {
    $task = Get-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName -ErrorAction SilentlyContinue
    if ($task -and [string]$task.State -eq 'Running') { Stop-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName }
    for ($try = 0; $try -lt 50; $try++) {
        $left = @(Get-CimInstance -ClassName Win32_Process | Where-Object {
            $_.ExecutablePath -and ([string]$_.ExecutablePath).StartsWith("$Programs\", 'OrdinalIgnoreCase')
        })
        if ($left.Count -eq 0) { return }
        foreach ($process in $left) {
            Stop-Process -Id $process.ProcessId -Force -ErrorAction SilentlyContinue
        }
        Start-Sleep -Milliseconds 200
    }
    Fail 'stop' "$($left[0].ExecutablePath) (pid $($left[0].ProcessId)) does not end" 'End it in the Task Manager and run again'
}

# As the COM interface has it: there is no cmdlet for folders of tasks (learn.microsoft.com, "ITaskFolder"). 1:
# TASK_ENUM_HIDDEN, also tasks that are not shown.
function Remove-TaskFolder([string]$Name) {
    $service = New-Object -ComObject 'Schedule.Service'
    $service.Connect()
    if ($service.GetFolder("\$Name").GetTasks(1).Count -eq 0) { $service.GetFolder('\').DeleteFolder($Name, 0) }
}

Stop-Server
if ($Then -eq 'unregister') {
    if (Get-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName -ErrorAction SilentlyContinue) {
        Unregister-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName -Confirm:$false
        Remove-TaskFolder $TaskPath.Trim('\')
    }
}
if ($Then -ne 'start') { return }
Start-ScheduledTask -TaskPath $TaskPath -TaskName $TaskName
$where = $(if ($Address.Contains(':')) { "[$Address]" } else { $Address })
$until = (Get-Date).AddSeconds($TimeoutS)
do {
    Start-Sleep -Milliseconds 300
    $null = Invoke-Native (Find-Tool 'curl.exe') @('-sS', '-f', '--noproxy', '*', '--max-time', '5', '-o', 'NUL', "http://${where}:$Port/")
    if ($script:NativeExit -eq 0) { return }
} while ((Get-Date) -lt $until)
$result = (Get-ScheduledTaskInfo -TaskPath $TaskPath -TaskName $TaskName).LastTaskResult
$end = $(if (Test-Path -LiteralPath $Log) { (Read-OpenFile $Log).Split("`n") | Select-Object -Last 25 } else { '' })
Fail 'server' "Ollama does not come up as the scheduled task $TaskPath$TaskName (last result $result)" `
    "The end of its log $Log says why" (@($end) -join "`n")
