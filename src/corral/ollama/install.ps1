param(
    [string]$Url,
    [string]$Sha256,
    [string]$Directory,
    [string]$Downloads,
    [string]$StampFile,
    [string]$StampText,
    [string]$Program,
    [string]$Proxy,
    [string]$NoProxyFor
)
# Downloads Url into Downloads (going on with what an earlier run left), checks it against Sha256 and unpacks it as
# Directory, which appears in one rename with StampText in StampFile.

function Move-Directory([string]$From, [string]$To) { [IO.Directory]::Move($From, $To) }

function Get-Size([string]$Path) {
    if (Test-Path -LiteralPath $Path -PathType Leaf) { [long](Get-Item -LiteralPath $Path).Length } else { [long]0 }
}

function Get-Free([string]$Path) {
    $drive = $Path.Substring(0, 2)
    [long](Get-CimInstance -ClassName Win32_LogicalDisk -Filter "DeviceID = '$drive'").FreeSpace
}

function Get-Mib([long]$Bytes) { [long][Math]::Floor($Bytes / 1MB) }

$env:https_proxy = $Proxy
$env:http_proxy = $Proxy
$env:no_proxy = $NoProxyFor
$releases = Split-Path -Path $Directory -Parent
$archive = Join-Path -Path $Downloads -ChildPath "$Sha256.zip"
$partial = "$archive.partial"
$unpacking = Join-Path -Path $releases -ChildPath '.unpack'
$errors = Join-Path -Path $Downloads -ChildPath "$Sha256.error"

$null = New-Item -Path $Downloads -ItemType Directory -Force
# What a run that was cut off left, and downloads of other releases that nobody will finish.
if (Test-Path -LiteralPath $unpacking) { Remove-Item -LiteralPath $unpacking -Recurse -Force }
Get-ChildItem -LiteralPath $Downloads -File | Where-Object { $_.FullName -ne $archive -and $_.FullName -ne $partial } |
    ForEach-Object { Remove-Item -LiteralPath $_.FullName -Force }

if (-not (Test-Path -LiteralPath $archive)) {
    $head = @(Invoke-Curl @('-sSIL', '--connect-timeout', '20', '--max-time', '60', '--', $Url))
    if ($script:NativeExit -ne 0) {
        $why = ($script:NativeErrors -join ' ') -replace '^.*curl: ', ''
        Fail 'download' "$Url can't be reached: $why" "Check ollama_release_url, proxy and the host's network"
    }
    $status = ''
    $total = [long]0
    foreach ($line in $head) {
        if ($line -match '^HTTP/\S+ (\d+)') { $status = $Matches[1] }
        if ($line -match '^content-length:\s*(\d+)') { $total = [long]$Matches[1] }
    }
    if ($status -ne '200') { Fail 'download' "$Url answers $status" 'Check ollama_version and ollama_release_url' }
    # The archive and, beside it, about one and a half times its size when unpacked.
    $wanted = [long]($total * 2.5) - (Get-Size $partial)
    $free = Get-Free $Downloads
    if ($free -lt $wanted) {
        Fail 'disk' "$releases has $(Get-Mib $free) MiB free, unpacking $Url takes $(Get-Mib $wanted) MiB" `
            'Free some space there'
    }
    $resuming = $(if ((Get-Size $partial) -gt 0) { ", resuming at $(Get-Mib (Get-Size $partial)) MiB" } else { '' })
    Progress "downloading $(Get-Mib $total) MiB$resuming"
    $download = Start-Process -FilePath (Find-Tool 'curl.exe') -NoNewWindow -PassThru -RedirectStandardError $errors `
        -ArgumentList ($script:CurlTrust + @('-fsSL', '--connect-timeout', '20', '--speed-limit', '1024', '--speed-time', '60', '--retry', '3',
        '-C', '-', '-o', "`"$partial`"", '--', "`"$Url`""))
    # Without it the exit code is not kept (PowerShell/PowerShell issue 5421).
    $null = $download.Handle
    $seconds = 0
    while (-not $download.HasExited) {
        Start-Sleep -Milliseconds 500
        $seconds += 0.5
        if ($seconds -ge 5 -and $total -gt 0) {
            $seconds = 0
            $size = Get-Size $partial
            Progress "downloaded $(Get-Mib $size) of $(Get-Mib $total) MiB ($([Math]::Floor($size * 100 / $total)) %)"
        }
    }
    # A complete file that only lacked its rename is refused by the server: nothing lies beyond its end (RFC 9110 15.5.17).
    if ($download.ExitCode -ne 0 -and ((Get-Size $partial) -ne $total -or $total -eq 0)) {
        if ((Get-Free $Downloads) -lt 1MB) {
            Fail 'disk' "the disk of $Downloads is full" `
                'Free some space there and run again: the download goes on where it stopped'
        }
        $why = ([string](Read-TextFile $errors)).Trim()
        $size = Get-Size $partial
        Fail 'download' "the download of $Url broke off at $(Get-Mib $size) of $(Get-Mib $total) MiB: $why" `
            'Run again: it goes on where it stopped'
    }
    Progress 'checking its SHA-256'
    $got = (Get-FileHash -LiteralPath $partial -Algorithm SHA256).Hash.ToLowerInvariant()
    if ($got -ne $Sha256) {
        Remove-Item -LiteralPath $partial -Force
        Fail 'checksum' "the archive at $Url has the SHA-256 $got, not the pinned $Sha256; it was deleted" `
            "Compare ollama_version and its pin with the release's sha256sum.txt before you trust this address"
    }
    Move-Item -LiteralPath $partial -Destination $archive
}

Progress 'unpacking'
# Windows' tar is libarchive's, which reads zip files (learn.microsoft.com, "Tar and Curl Come to Windows").
$null = New-Item -Path $unpacking -ItemType Directory -Force
$null = Invoke-Native (Find-Tool 'tar.exe') @('-xf', $archive, '-C', $unpacking)
if ($script:NativeExit -ne 0) {
    Fail 'unpack' "unpacking failed: $($script:NativeErrors | Select-Object -Last 1)" `
        "Free some space on the disk of $releases and run again"
}
if (-not (Test-Path -LiteralPath (Join-Path -Path $unpacking -ChildPath $Program) -PathType Leaf)) {
    Fail 'release' "the archive at $Url holds no $Program" 'It is not a release of Ollama for Windows'
}
Write-TextFile (Join-Path -Path $unpacking -ChildPath $StampFile) "$StampText`n"
# A virus scanner may still be reading what was just written; a directory with an open file in it can't be renamed.
for ($try = 1; ; $try++) {
    try { Move-Directory $unpacking $Directory; break } catch {
        # IOException or UnauthorizedAccessException, as the scanner has it open.
        if ($try -ge 20) { throw }
        Start-Sleep -Seconds 1
    }
}
Remove-Item -LiteralPath $Downloads -Recurse -Force
