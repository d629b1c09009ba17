# Says what time it is, in units of 100 ns since 1601, and reboots as soon as the answer is on its way. p:4:1: planned,
# application, maintenance (learn.microsoft.com, "System Shutdown Reason Codes").
Emit-Json 'result' (Get-Date).ToFileTimeUtc()
$null = Invoke-Native 'shutdown.exe' @('/r', '/t', '2', '/d', 'p:4:1')
if ($script:NativeExit -ne 0) {
  $problem = "shutdown.exe would not reboot the host (exit code $script:NativeExit)"
  Fail 'reboot' $problem 'Is ssh_user an administrator, and is no other shutdown under way?' "$script:NativeErrors"
}
