param(
    [string]$Current, [string[]]$Names, [string[]]$Values, [string]$Runner,
    [string]$Header, [long]$Size, [string[]]$Arguments
)
# Asks the engine of the release that Current names, by its runner, with the variables in Names, what a model will take that is
# loaded with Arguments. Header: the beginning of its GGUF file, gzipped, in base64; Size: of the file in bytes, of which
# the rest is a hole. answer: what the engine said before it would have loaded anything; it is ended then.

function Expand-Header([string]$Path) {
    $packed = New-Object -TypeName System.IO.MemoryStream -ArgumentList (, [Convert]::FromBase64String($Header))
    $unpacked = New-Object -TypeName System.IO.Compression.GZipStream -ArgumentList $packed, 'Decompress'
    $file = [IO.File]::Open($Path, 'Open', 'Write')
    try { $unpacked.CopyTo($file); $file.SetLength($Size) } finally { $file.Dispose(); $unpacked.Dispose() }
}

$release = Join-Path -Path (Split-Path -Path $Current -Parent) -ChildPath ([string](Read-TextFile $Current)).Trim()
$libraries = Join-Path -Path $release -ChildPath 'lib\ollama'
for ($number = 0; $number -lt $Names.Count; $number++) { Set-Item -Path "env:$($Names[$number])" -Value $Values[$number] }
$backend = @(Get-ChildItem -Path "$libraries\$Runner\*ggml-*.dll" -ErrorAction SilentlyContinue |
    Where-Object { $_.Name -match 'ggml-(cuda|hip|vulkan)' })
if ($backend.Count -gt 0) {
    $env:Path = "$libraries;$libraries\$Runner;$env:Path"
    $env:GGML_BACKEND_PATH = $backend[0].FullName
}
$scratch = New-Scratch
try {
    $model = Join-Path -Path $scratch -ChildPath 'model.gguf'
    $null = New-Item -Path $model -ItemType File
    # Else the hole takes its size on the disk (learn.microsoft.com, "Sparse Files").
    $null = Invoke-Native 'fsutil.exe' @('sparse', 'setflag', $model)
    if ($script:NativeExit -ne 0) { Fail 'room' "$model can't have a hole" }
    Expand-Header $model
    $line = "--model `"$model`" $($Arguments -join ' ') --context-shift --keep 4 --no-webui --offline " +
        '--host 127.0.0.1 --port 0 -lv 5'
    $text = Watch-Native (Join-Path -Path $libraries -ChildPath 'llama-server.exe') $line $scratch 60 `
        'fitting params to free memory took|exiting due to'
    Emit 'answer' (@($text.Split("`n") | Where-Object {
        $_ -match 'compute buffer size|llama_kv_cache: size|offloaded|\|   - |projected to use|exiting due to| E '
    }) -join "`n")
} finally { Remove-Scratch $scratch }
