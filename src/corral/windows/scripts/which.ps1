# Where the program is that a command's name stands for, or null. In the order of the Path and of PATHEXT
# (learn.microsoft.com, "Get-Command").
param([string]$Command)

$found = Get-Command -Name $Command -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
$path = $null
if ($null -ne $found) { $path = $found.Source }
Emit-Json 'result' $path
