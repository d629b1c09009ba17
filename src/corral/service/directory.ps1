param([string]$Directory, [bool]$Closed, [string]$Sid, [string]$Registry)
# Makes Directory, and notes below Registry which of the directories above it are made for it. Closed: only SYSTEM and
# administrators may open it. The account with the SID Sid, where one is given, may change what is in it.
$highest = ''
for ($path = $Directory; $path -and -not (Test-Path -LiteralPath $path); $path = Split-Path -Path $path -Parent) { $highest = $path }
if ($highest) { Set-RegistryValue "$Registry\Directories" $Directory $highest }
$null = New-Item -Path $Directory -ItemType Directory -Force
if ($Closed) { Protect-Path $Directory }
# M: all but to change the rights; (OI)(CI): in what is below, too (learn.microsoft.com, "icacls").
if ($Sid) {
    $null = Invoke-Native 'icacls.exe' @($Directory, '/grant', "*${Sid}:(OI)(CI)M")
    if ($script:NativeExit -ne 0) { Fail 'directory' "rights on $Directory can't be given" '' ($script:NativeErrors -join "`n") }
}
