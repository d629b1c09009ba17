param([string]$Log, [string]$Started, [string]$After)
# journal: the lines of the server's log that tell what it thinks of the GPUs, since its start, or after the place After
# in it where that is not empty. cursor: where the log ends now. Another start has another log, and is known by
# the process's number in Started: a file that is made anew at once keeps the old one's date of creation on NTFS ([MS-FSA]
# 2.1.1.2, TunnelCacheEntry). The lines are those of ollama, discover/types.go, and of llama.cpp.
$journal = ''
$cursor = ''
if (Test-Path -LiteralPath $Log -PathType Leaf) {
    $server = $(if ((Read-TextFile $Started) -match '"pid":(\d+)') { $Matches[1] } else { '0' })
    $cursor = "$server $((Get-Item -LiteralPath $Log).Length)"
    $from = [long]0
    if ($After -match '^(\d+) (\d+)$' -and $Matches[1] -eq $server) { $from = [long]$Matches[2] }
    $lines = @((Read-OpenFile $Log $from).Split("`n") | Where-Object {
        $_ -match 'inference compute|offloaded [0-9]+/|out[- ]of[- ]memory|no compatible|OutOfDeviceMemory|to allocate|cudaMalloc'
    } | Select-Object -Last 6)
    $journal = @($lines | ForEach-Object { $_.TrimEnd("`r") } | ForEach-Object {
        $(if ($_.Length -gt 240) { $_.Substring(0, 240) } else { $_ })
    }) -join "`n"
}
Emit 'journal' $journal
Emit 'cursor' $cursor
