# In front of every script of corral's own, after its param() block. What touches the machine by .NET is in a function
# of its own here, so that it can be replaced.

Set-StrictMode -Version Latest

function Write-Answer([string]$Line) {
  [Console]::Out.WriteLine('@corral ' + $Line)
}

function ConvertTo-Base64([string]$Text) {
  [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($Text))
}

# One named result, as text.
function Emit([string]$Name, [string]$Text) {
  Write-Answer "emit $Name $(ConvertTo-Base64 $Text)"
}

# One named result, as a JSON document. By -InputObject, for a pipeline would make one object of an array of one; and
# of $null Windows PowerShell 5.1 makes nothing (PowerShell/PowerShell issue 15590). Its -Depth is 2 where none is given
# (learn.microsoft.com, "ConvertTo-Json").
function Emit-Json([string]$Name, $Value) {
  $json = if ($null -eq $Value) { 'null' } else { ConvertTo-Json -InputObject $Value -Depth 20 -Compress }
  Emit $Name $json
}

# Shown at once to whoever waits.
function Progress([string]$Text) {
  Write-Answer "progress $(ConvertTo-Base64 $Text)"
}

# Ends the script: corral knows the case by its code, people read the problem, the remedy and the detail.
function Fail([string]$Code, [string]$Problem, [string]$Remedy = '', [string]$Detail = '') {
  Write-Answer "error $Code $(ConvertTo-Base64 "$Problem | $Remedy`n$Detail")"
  exit 1
}

$script:NativeExit = 0
$script:NativeErrors = @()

# Runs an executable with an empty standard input and returns its lines of output. Its exit code is in
# $script:NativeExit, its lines of error output in $script:NativeErrors. It throws only where there is no such program.
function Invoke-Native([string]$Path, [string[]]$Arguments = @()) {
  foreach ($argument in $Arguments) {
    # Windows PowerShell 5.1 puts quotes around what holds a space, but escapes nothing, and drops what is empty
    # (learn.microsoft.com, "about_Parsing", passing arguments to native commands).
    if ($argument -eq '' -or $argument -match '"' -or ($argument -match '\s' -and $argument.EndsWith('\'))) {
      throw "Windows PowerShell cannot hand this argument to a program: <$argument>"
    }
  }
  # 5.1 makes an error of every line on standard error that is redirected, and would end the script at the first
  # (learn.microsoft.com, "Using experimental features", PSNotApplyErrorActionToStderr).
  $ErrorActionPreference = 'Continue'
  $errors = New-Object -TypeName System.Collections.ArrayList
  $null | & $Path @Arguments 2>&1 | ForEach-Object -Process {
    if ($_ -is [System.Management.Automation.ErrorRecord]) { $null = $errors.Add("$_") } else { "$_" }
  }
  $script:NativeErrors = @($errors)
  $script:NativeExit = $global:LASTEXITCODE
  # It would become the exit code of the script.
  $global:LASTEXITCODE = 0
}

# Whether the token has the group, which a filtered one has only to be denied (learn.microsoft.com,
# "WindowsPrincipal.IsInRole").
function Test-Elevated {
  $identity = [Security.Principal.WindowsIdentity]::GetCurrent()
  $principal = New-Object -TypeName System.Security.Principal.WindowsPrincipal -ArgumentList $identity
  $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

# --- Files -----------------------------------------------------------------------------------------------------------

function Write-NewFile([string]$Path, [byte[]]$Content) {
  $stream = [IO.File]::Open($Path, [IO.FileMode]::CreateNew)
  try {
    $stream.Write($Content, 0, $Content.Length)
    # To the disk itself (FlushFileBuffers), so that the rename never precedes the content where the power goes.
    $stream.Flush($true)
  }
  finally {
    $stream.Dispose()
  }
}

# Not $null, which PowerShell would make an empty name of (learn.microsoft.com, "NullString").
function Invoke-Replace([string]$From, [string]$To) { [IO.File]::Replace($From, $To, [NullString]::Value) }

# One rename: what was there is replaced whole or not at all, and the new one gets its access rights. With a name for what was there
# it would be two renames; without one a failure may have taken it away (learn.microsoft.com, "ReplaceFileW", 1176).
function Move-Over([string]$From, [string]$To) {
  if (Test-Path -LiteralPath $To) {
    try { Invoke-Replace $From $To; return } catch { if (Test-Path -LiteralPath $To) { throw } }
  }
  [IO.File]::Move($From, $To)
}

# UTF-8 without byte order mark, by way of a file beside the target. The path is absolute, its directory must exist.
function Write-TextFile([string]$Path, [string]$Text) {
  if (Test-Path -LiteralPath $Path -PathType Container) { throw "$Path is a directory" }
  $new = "$Path.corral-$PID"
  if (Test-Path -LiteralPath $new) { Remove-Item -LiteralPath $new -Force }
  try {
    Write-NewFile $new ([Text.Encoding]::UTF8.GetBytes($Text))
    Move-Over $new $Path
  }
  finally {
    if (Test-Path -LiteralPath $new) { Remove-Item -LiteralPath $new -Force }
  }
}

# The text of a file in UTF-8, or $null where there is none. The path is absolute.
function Read-TextFile([string]$Path) {
  if (Test-Path -LiteralPath $Path -PathType Leaf) { [IO.File]::ReadAllText($Path) }
}

# Only SYSTEM and the administrators may open it. By their SIDs, for the groups' names are translated; Everyone,
# CREATOR OWNER, Authenticated Users and Users lose what they were given by name, and whoever has made it no longer owns
# it: an owner may change the rights (learn.microsoft.com, "icacls", "Well-known SIDs" and "Owner of a new object").
function Protect-Path([string]$Path) {
  $rights = if (Test-Path -LiteralPath $Path -PathType Container) { '(OI)(CI)F' } else { 'F' }
  $owned = @($Path, '/setowner', '*S-1-5-32-544', '/q')
  $closed = @($Path, '/inheritance:r', '/grant:r', "*S-1-5-18:$rights", "*S-1-5-32-544:$rights",
    '/remove:g', '*S-1-1-0', '*S-1-3-0', '*S-1-5-11', '*S-1-5-32-545', '/q')
  foreach ($arguments in $owned, $closed) {
    $null = Invoke-Native 'icacls.exe' $arguments
    if ($script:NativeExit -ne 0) { throw "icacls.exe ended with $script:NativeExit for ${Path}: $script:NativeErrors" }
  }
}

# --- Registry: through .NET, because the provider's cmdlets hand out values with their variables expanded ------------

# HKLM:\SOFTWARE\x, or HKEY_LOCAL_MACHINE\SOFTWARE\x: the hive, as 64-bit programs see it, and the rest of the path
# (learn.microsoft.com, "RegistryView").
function Open-RegistryHive([string]$Path) {
  $hives = @{
    HKLM = 'LocalMachine'; HKEY_LOCAL_MACHINE = 'LocalMachine'; HKCU = 'CurrentUser'; HKEY_CURRENT_USER = 'CurrentUser'
    HKU = 'Users'; HKEY_USERS = 'Users'; HKCR = 'ClassesRoot'; HKEY_CLASSES_ROOT = 'ClassesRoot'
  }
  $hive, $key = $Path -split ':?\\', 2
  if (-not $hives.ContainsKey($hive) -or -not $key) { throw "Not a path of the registry: $Path" }
  [Microsoft.Win32.RegistryKey]::OpenBaseKey($hives[$hive], [Microsoft.Win32.RegistryView]::Registry64)
  $key.Trim('\')
}

# An object with Kind (String, ExpandString, DWord, QWord, MultiString, Binary) and Value, or $null.
function Get-RegistryValue([string]$Path, [string]$Name) {
  $hive, $rest = Open-RegistryHive $Path
  $key = $hive.OpenSubKey($rest)
  if ($null -eq $key) { return }
  try {
    if ($key.GetValueNames() -notcontains $Name) { return }
    [pscustomobject]@{
      Kind = "$($key.GetValueKind($Name))"
      Value = $key.GetValue($Name, $null, [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
    }
  }
  finally {
    $key.Dispose()
  }
}

# The names of a key's values; none where there is no key.
function Get-RegistryValueName([string]$Path) {
  $hive, $rest = Open-RegistryHive $Path
  $key = $hive.OpenSubKey($rest)
  if ($null -eq $key) { return }
  try { $key.GetValueNames() } finally { $key.Dispose() }
}

function Set-RegistryValue([string]$Path, [string]$Name, $Value, [string]$Kind = 'String') {
  $hive, $rest = Open-RegistryHive $Path
  $key = $hive.CreateSubKey($rest)
  try { $key.SetValue($Name, $Value, [Microsoft.Win32.RegistryValueKind]$Kind) } finally { $key.Dispose() }
}

function Remove-RegistryValue([string]$Path, [string]$Name) {
  $hive, $rest = Open-RegistryHive $Path
  $key = $hive.OpenSubKey($rest, $true)
  if ($null -eq $key) { return }
  try { $key.DeleteValue($Name, $false) } finally { $key.Dispose() }
}

# Just a value's data, unexpanded, or $null.
function Get-RegistryData([string]$Path, [string]$Name) {
  $found = Get-RegistryValue $Path $Name
  if ($found) { $found.Value }
}

# The names of the keys below a key; none where there is no key.
function Get-RegistryKeyName([string]$Path) {
  $hive, $rest = Open-RegistryHive $Path
  $key = $hive.OpenSubKey($rest)
  if ($null -eq $key) { return }
  try { $key.GetSubKeyNames() } finally { $key.Dispose() }
}

# A key with all that is below it, where it is there.
function Remove-RegistryKey([string]$Path) {
  $hive, $rest = Open-RegistryHive $Path
  $hive.DeleteSubKeyTree($rest, $false)
}

# --- Runs: sshd lets a script go on whose connection was cut (Win32-OpenSSH issue 1751), so whoever holds the host's
# lock ends the scripts of its run then. They are known by a file each: named after the process, with its start in it. --

function Get-StartOf([int]$Id) {
  $process = Get-Process -Id $Id -ErrorAction SilentlyContinue
  if ($process) { [string]$process.StartTime.ToFileTimeUtc() } else { '' }
}

if ($env:CORRAL_RUN) {
  if (-not (Test-Path -LiteralPath $env:CORRAL_RUN -PathType Container)) {
    Fail 'lock' 'this run has lost its lock on the host' 'Run again'
  }
  Write-TextFile (Join-Path -Path $env:CORRAL_RUN -ChildPath "$PID.txt") (Get-StartOf $PID)
}

# --- Programs that are only listened to for a while --------------------------------------------------------------------

# The text of a file that somebody else has open for writing, which has to be allowed here too (learn.microsoft.com,
# "Creating and Opening Files").
function Read-OpenFile([string]$Path, [long]$Offset = 0) {
  $file = [IO.File]::Open($Path, [IO.FileMode]::Open, [IO.FileAccess]::Read, [IO.FileShare]'ReadWrite, Delete')
  try {
    if ($Offset -le $file.Length) { $null = $file.Seek($Offset, [IO.SeekOrigin]::Begin) }
    (New-Object -TypeName System.IO.StreamReader -ArgumentList $file).ReadToEnd()
  }
  finally {
    $file.Dispose()
  }
}

# What an executable prints, errors after output, until it ends, has printed what matches Until, or Seconds have passed;
# then it is ended. Its exit code is in $script:NativeExit, 1460 (ERROR_TIMEOUT) where it took too long, 0 where Until
# came. Arguments are one line, as the program gets it. The files lie in Scratch, which the caller removes.
function Watch-Native([string]$Path, [string]$Arguments, [string]$Scratch, [int]$Seconds, [string]$Until = '') {
  $out = Join-Path -Path $Scratch -ChildPath 'output.txt'
  $errors = Join-Path -Path $Scratch -ChildPath 'errors.txt'
  $process = Start-Process -FilePath $Path -ArgumentList $Arguments -NoNewWindow -PassThru `
    -RedirectStandardOutput $out -RedirectStandardError $errors
  # Without this the exit code is not kept (PowerShell/PowerShell issue 5421).
  $null = $process.Handle
  $last = (Get-Date).AddSeconds($Seconds)
  $script:NativeExit = 1460
  do {
    Start-Sleep -Milliseconds 50
    $ended = $process.HasExited
    $text = (Read-OpenFile $out) + (Read-OpenFile $errors)
    if ($Until -and $text -match $Until) { $script:NativeExit = 0 }
    elseif ($ended) { $script:NativeExit = $process.ExitCode }
  } while ($script:NativeExit -eq 1460 -and (Get-Date) -lt $last)
  $code = $script:NativeExit
  if (-not $process.HasExited) {
    $null = Invoke-Native 'taskkill.exe' @('/F', '/T', '/PID', "$($process.Id)")
    $process.WaitForExit()
  }
  $script:NativeExit = $code
  $text
}

# A new directory for a script's own files, which others than administrators can't change: lock.ps1 has closed the one
# above. What scripts have left that
# have ended meanwhile goes.
function New-Scratch {
  $parent = Join-Path -Path $env:ProgramData -ChildPath 'corral'
  foreach ($old in @(Get-ChildItem -LiteralPath $parent -Filter 'scratch-*' -Directory -ErrorAction SilentlyContinue)) {
    if (-not (Get-StartOf ([int]($old.Name -replace '\D', '')))) { Remove-Scratch $old.FullName }
  }
  (New-Item -Path (Join-Path -Path $parent -ChildPath "scratch-$PID") -ItemType Directory -Force).FullName
}

# A virus scanner, or a program that is just ending, may have something open: what can't go now, the next one removes.
function Remove-Scratch([string]$Path) {
  for ($try = 0; $try -lt 10 -and (Test-Path -LiteralPath $Path); $try++) {
    Remove-Item -LiteralPath $Path -Recurse -Force -ErrorAction SilentlyContinue
    if (Test-Path -LiteralPath $Path) { Start-Sleep -Milliseconds 100 }
  }
}

# --- Environment of the machine ---------------------------------------------------------------------------------------

$script:MachineEnvironment = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment'

# Tells the programs of this session that the machine's environment has changed: .NET sends WM_SETTINGCHANGE after each
# change that it makes, also after one that was none, such as to remove what is not there (learn.microsoft.com,
# "Environment.SetEnvironmentVariable"; microsoft/referencesource, mscorlib/system/environment.cs).
function Send-EnvironmentChange {
  [Environment]::SetEnvironmentVariable('corral_no_such_variable', [NullString]::Value, 'Machine')
}

# --- curl.exe, Windows' own since 1803: another one may come first on the Path ------------------------------------------

$script:CurlTrust = @()

function Find-Tool([string]$Name) { Join-Path -Path $env:SystemRoot -ChildPath "System32\$Name" }

# As Invoke-Native. Schannel refuses a certificate whose revocation it can't look up (0x80092012, 0x80092013), as those
# of a network's own authority: then once more without, which $script:CurlTrust has other calls do too. The numbers are
# CRYPT_E_NO_REVOCATION_CHECK and CRYPT_E_REVOCATION_OFFLINE (learn.microsoft.com, "COM Error Codes (Security and Setup)").
function Invoke-Curl([string[]]$Arguments) {
  $lines = @(Invoke-Native (Find-Tool 'curl.exe') ($script:CurlTrust + $Arguments))
  if ($script:NativeExit -ne 0 -and "$($script:NativeErrors)" -match '0x8009201[23]' -and -not $script:CurlTrust) {
    foreach ($option in '--ssl-revoke-best-effort', '--ssl-no-revoke') {
      # The first is not known to curl.exe before 7.70, which then ends with 2 (curl.1).
      $script:CurlTrust = @($option)
      $lines = @(Invoke-Native (Find-Tool 'curl.exe') ($script:CurlTrust + $Arguments))
      if ($script:NativeExit -ne 2) { break }
    }
  }
  $lines
}
