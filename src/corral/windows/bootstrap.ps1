# What powershell.exe is started with, on every host and for every script: it reads one request from standard input,
# makes sure that it came whole, and runs the script in it. Comments and indentation are taken out before it is sent,
# for cmd takes no more than 8,191 characters; so a comment has lines of its own here, and no string spans lines.
# Its names begin with an underscore because a script sees the variables of whoever calls it.

$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# In constrained language mode the types below are forbidden: said before the first of them is touched
# (learn.microsoft.com, "about_Language_Modes").
if ($ExecutionContext.SessionState.LanguageMode -ne 'FullLanguage') {
  '@corral error language Y29uc3RyYWluZWQ='
  '@corral end'
  exit 98
}

$_utf8 = [Text.UTF8Encoding]::new($false)
$OutputEncoding = $_utf8
# For what programs and Write-Host write: they use the console's code page (learn.microsoft.com, "Console.OutputEncoding").
# Without a console there is no code page to set; all else here is ASCII.
try { [Console]::OutputEncoding = $_utf8 } catch { }
$_out = [Console]::Out

# The header byte by byte, for what follows the body is not ours. The line's end, or the input's, is less than 11.
$_in = [Console]::OpenStandardInput()
$_header = ''
while ($_header.Length -lt 99 -and ($_n = $_in.ReadByte()) -gt 10) { $_header += [char]$_n }
$_size, $_read = 0, 0
if ($_header -match '^corral (\d{1,9}) ') { $_size = [int]$Matches[1] }
$_body = [byte[]]::new($_size)
while ($_read -lt $_size -and ($_n = $_in.Read($_body, $_read, $_size - $_read)) -gt 0) { $_read += $_n }
$_sum = [BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($_body)).Replace('-', '')
if ("corral $_read $_sum" -ne $_header) {
  [Console]::Error.WriteLine("$_read of $_size bytes came")
  exit 97
}

function _text($code) { $_utf8.GetString([Convert]::FromBase64String($code)) }
# A line of the script's own output never passes for one of the protocol, and what is not plain ASCII arrives whatever a
# shell in between makes of it.
function _line($text) {
  foreach ($line in $text -split "`r?`n") {
    if ($line -cmatch '[^ -~]|^@corral ') {
      $line = '@corral output ' + [Convert]::ToBase64String($_utf8.GetBytes($line))
    }
    $_out.WriteLine($line)
  }
}

$_named = @{}
$_rest = [Collections.ArrayList]::new()
$_watchdog = $null
$_exit = 1
$_out.WriteLine('@corral ready')
try {
  foreach ($_entry in [Text.Encoding]::ASCII.GetString($_body) -split "`n") {
    $_kind, $_key, $_type, $_values = $_entry -split ' '
    if ($_kind -eq 'limit') {
      # In a runspace of its own, so that it goes on whatever the script does. It must never read standard input:
      # a read that waits there blocks every program which asks what kind of handle it was given.
      $_watchdog = [PowerShell]::Create().AddScript(
        "Start-Sleep -Seconds $_key; taskkill.exe /F /T /PID $PID; (Get-Process -Id $PID).Kill()")
      $null = $_watchdog.BeginInvoke()
    }
    elseif ($_kind) {
      $_key = _text $_key
      if ($_kind -eq 'script') { $_script = _text $_type }
      elseif ($_kind -eq 'directory') { Set-Location -LiteralPath $_key }
      elseif ($_kind -eq 'environment') { [Environment]::SetEnvironmentVariable($_key, (_text $_type)) }
      elseif ($_type -eq 's') { $_named[$_key] = _text $_values }
      elseif ($_type -eq 'i') { $_named[$_key] = [long]$_values }
      elseif ($_type -eq 'b') { $_named[$_key] = $_values -eq 1 }
      else { $_named[$_key] = [string[]]@(foreach ($_value in $_values) { _text $_value }) }
    }
  }
  # Else strict mode refuses to read it, and what a profile ran before would count (learn.microsoft.com,
  # "about_Automatic_Variables").
  $global:LASTEXITCODE = 0
  # Strings as they come; other objects together at the end, for a table needs all its rows.
  & ([ScriptBlock]::Create($_script)) @_named | ForEach-Object {
    if ($_ -is [string]) { _line $_ } else { $null = $_rest.Add($_) }
  }
  $_exit = $global:LASTEXITCODE
  # A PowerShell between this one and sshd makes 1 of every exit code but 0 (learn.microsoft.com,
  # "about_PowerShell_exe", -Command).
  $_out.WriteLine("@corral exit $_exit")
}
catch {
  [Console]::Error.WriteLine(
    "$($_.Exception.Message)`n$($_.FullyQualifiedErrorId)`n$($_.InvocationInfo.PositionMessage)")
}
finally {
  if ($_rest.Count) { $_rest | Out-String -Stream -Width 240 | ForEach-Object { _line $_ } }
  $_out.WriteLine('@corral end')
  if ($_watchdog) { $_watchdog.Dispose() }
}
exit $_exit
