param([string]$Log, [string]$After)
# journal: the lines of the server's log that tell what it thinks of the GPUs, since its start, or after the place After
# in it where that is not empty. cursor: where the log ends now. Another start has another log.
$journal = ''
$cursor = ''
if (Test-Path -LiteralPath $Log -PathType Leaf) {
    $item = Get-Item -LiteralPath $Log
    $started = [string]$item.CreationTimeUtc.Ticks
    $cursor = "$started $($item.Length)"
    $from = [long]0
    if ($After -match '^(\d+) (\d+)$' -and $Matches[1] -eq $started) { $from = [long]$Matches[2] }
    $lines = @((Read-OpenFile $Log $from).Split("`n") | Where-Object {
        $_ -match 'inference compute|offloaded [0-9]+/|out[- ]of[- ]memory|no compatible|OutOfDeviceMemory|to allocate|cudaMalloc'
    } | Select-Object -Last 6)
    $journal = @($lines | ForEach-Object { $_.TrimEnd("`r") } | ForEach-Object {
        $(if ($_.Length -gt 240) { $_.Substring(0, 240) } else { $_ })
    }) -join "`n"
}
Emit 'journal' $journal
Emit 'cursor' $cursor
