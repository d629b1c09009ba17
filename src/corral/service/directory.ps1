param([string]$Directory, [string]$Sid)
# Makes Directory; the account with the SID Sid, where one is given, may change what is in it.
$null = New-Item -Path $Directory -ItemType Directory -Force
if ($Sid) {
    $null = Invoke-Native 'icacls.exe' @($Directory, '/grant', "*${Sid}:(OI)(CI)M")
    if ($script:NativeExit -ne 0) { Fail 'directory' "rights on $Directory can't be given" '' ($script:NativeErrors -join "`n") }
}
