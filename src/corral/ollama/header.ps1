param([string[]]$Urls, [string[]]$First, [string[]]$Last, [string]$Proxy, [string]$NoProxyFor)
# Asks the registries for a piece of each of the blobs at Urls, as the server on this host will: the bytes from First to
# Last, that one included. Each piece is emitted as part.<number>, in order, which together are one base64 of a gzip of
# what came: the bytes, then, in a line of its own, the status and curl's exit code. A registry that would send the whole
# blob is refused by its length (curl.1, --max-filesize). A path among Urls is a file of this host.

function Read-Piece([string]$Path, [long]$Offset, [long]$Length) {
    $file = [IO.File]::Open($Path, 'Open', 'Read', 'ReadWrite, Delete')
    try {
        $null = $file.Seek($Offset, 'Begin')
        $bytes = New-Object -TypeName 'byte[]' -ArgumentList ([Math]::Max(0, [Math]::Min($Length, $file.Length - $Offset)))
        $read = 0
        while ($read -lt $bytes.Length) { $read += $file.Read($bytes, $read, $bytes.Length - $read) }
        , $bytes
    } finally { $file.Dispose() }
}

function Compress-Piece([byte[]]$Bytes, [string]$End) {
    $packed = New-Object -TypeName System.IO.MemoryStream
    $stream = New-Object -TypeName System.IO.Compression.GZipStream -ArgumentList $packed, 'Compress'
    $stream.Write($Bytes, 0, $Bytes.Length)
    $line = [Text.Encoding]::UTF8.GetBytes($End)
    $stream.Write($line, 0, $line.Length)
    $stream.Dispose()
    [Convert]::ToBase64String($packed.ToArray())
}

$env:https_proxy = $Proxy
$env:http_proxy = $Proxy
$env:no_proxy = $NoProxyFor
$scratch = New-Scratch
try {
    for ($number = 0; $number -lt $Urls.Count; $number++) {
        $url = $Urls[$number]
        $from = [long]$First[$number]
        $length = [long]$Last[$number] - $from + 1
        $file = Join-Path -Path $scratch -ChildPath "piece$number"
        $end = ''
        if ($url -match '^[A-Za-z]:\\') {
            $bytes = $(if (Test-Path -LiteralPath $url) { Read-Piece $url $from $length } else { , [byte[]]@() })
            $end = "`n206 0"
        } else {
            $status = @(Invoke-Curl @('-fsSL', '--connect-timeout', '20', '--speed-limit', '1024', '--speed-time',
                '60', '--max-filesize', "$length", '-r', "$from-$($Last[$number])", '-o', $file, '-w', '%{http_code}', '--',
                $url)) -join ''
            $code = $script:NativeExit
            $bytes = $(if (Test-Path -LiteralPath $file) { Read-Piece $file 0 $length } else { , [byte[]]@() })
            $end = "`n$($script:NativeErrors -join "`n")`n$status $code"
            if ($code -eq 0) { $end = "`n$status 0" }
        }
        # In pieces of a megabyte: corral takes apart line by line what it has received so far.
        $text = Compress-Piece $bytes $end
        for ($at = 0; $at -lt $text.Length; $at += 1000000) {
            Emit "part.$number" $text.Substring($at, [Math]::Min(1000000, $text.Length - $at))
        }
    }
} finally { Remove-Scratch $scratch }
