# Starts, stops, restarts, enables or disables a service. -Force: also one that others depend on (learn.microsoft.com,
# "Stop-Service").
param([string]$Name, [string]$Action)

switch ($Action) {
  'start' { Start-Service -Name $Name }
  'stop' { Stop-Service -Name $Name -Force }
  'restart' { Restart-Service -Name $Name -Force }
  'enable' { Set-Service -Name $Name -StartupType Automatic }
  'disable' { Set-Service -Name $Name -StartupType Disabled }
}
