# Restarts the machine in a few seconds, so that the answer still comes. A restart is a full boot also where Windows
# hibernates its kernel at a shutdown (learn.microsoft.com, "System power states", Fast startup). p:4:1:
# planned, application, maintenance (learn.microsoft.com, "System Shutdown Reason Codes").
$null = Invoke-Native 'shutdown.exe' @('/r', '/t', '3', '/d', 'p:4:1')
if ($script:NativeExit -ne 0) { Fail 'reboot' "the machine does not restart: $($script:NativeErrors -join ' ')" 'Restart it by hand' }
