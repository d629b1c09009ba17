param([string[]]$Urls, [string]$Blobs, [string]$Proxy, [string]$NoProxyFor)
# Asks the registries for the manifests at Urls, as the server on this host will, and answers each as manifest.<number>:
# the manifest, then the status in a line of its own. A path among Urls is a file of this host. blobs: name and size in
# bytes of what is in Blobs already, downloads that are under way included.
$env:https_proxy = $Proxy
$env:http_proxy = $Proxy
$env:no_proxy = $NoProxyFor
for ($number = 0; $number -lt $Urls.Count; $number++) {
    $url = $Urls[$number]
    if ($url -match '^[A-Za-z]:\\') {
        $text = Read-TextFile $url
        Emit "manifest.$number" $(if ($null -eq $text) { "$url is missing`n000" } else { "$text`n200" })
        continue
    }
    $lines = @(Invoke-Curl @('-sSL', '--connect-timeout', '20', '--max-time', '60', '-w', '\n%{http_code}',
        '-H', 'Accept:application/vnd.docker.distribution.manifest.v2+json', '--', $url))
    if ($script:NativeExit -eq 0) { Emit "manifest.$number" ($lines -join "`n") }
    else { Emit "manifest.$number" "$($script:NativeErrors -join "`n")`n000" }
}
$sizes = [ordered]@{}
Get-ChildItem -Path "$Blobs\sha256-*" -File -ErrorAction SilentlyContinue | ForEach-Object {
    if ($_.Name -match '^(sha256-[0-9a-f]+)-partial-\d+$') {
        # A download's file has its whole size from the start; how far each of its parts is stands in a file of the part
        # (ollama, server/download.go, blobDownloadPart).
        $done = $(if ((Read-TextFile $_.FullName) -match '"Completed":(\d+)') { [long]$Matches[1] } else { [long]0 })
        $name = $_.Name -replace '-partial-\d+$', ''
        $sizes[$name] = $(if ($sizes.Contains($name)) { $sizes[$name] } else { [long]0 }) + $done
    } elseif ($_.Name -match '^sha256-[0-9a-f]+$') { $sizes[$_.Name] = [long]$_.Length }
}
Emit 'blobs' (@($sizes.Keys | ForEach-Object { "$_ $($sizes[$_])" }) -join "`n")
