# Where the program is that a command's name stands for, or null.
param([string]$Command)

$found = Get-Command -Name $Command -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
$path = $null
if ($null -ne $found) { $path = $found.Source }
Emit-Json 'result' $path
