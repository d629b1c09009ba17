param([string]$Current, [string[]]$Names, [string[]]$Values, [string]$Only, [string]$Without)
# What the engine of the release that Current names can compute on: by each of its runners, started as Ollama starts it
# (ollama, discover/llama_server.go, and llm/llama_server.go, llamaServerLibraryPaths), with the variables in Names. Only: asks those that begin so. Without: not this one. Loads no model, serves nothing. Where no
# runner lies beside the engine it has its backend built in. Up to 0.29 there is no engine to ask.
$release = Join-Path -Path (Split-Path -Path $Current -Parent) -ChildPath ([string](Read-TextFile $Current)).Trim()
$libraries = Join-Path -Path $release -ChildPath 'lib\ollama'
$server = Join-Path -Path $libraries -ChildPath 'llama-server.exe'
if (-not (Test-Path -LiteralPath $server)) { return }
for ($number = 0; $number -lt $Names.Count; $number++) { Set-Item -Path "env:$($Names[$number])" -Value $Values[$number] }
$before = $env:Path
$scratch = New-Scratch

function Ask-Runner([string]$Runner) {
    $text = Watch-Native $server '--list-devices --offline' $scratch 90
    if ($script:NativeExit -ne 0) { $text += "`n@failed $($script:NativeExit)" }
    Emit "engine.$Runner" $text
}

try {
    $backends = @(Get-ChildItem -Path "$libraries\*\*ggml-*.dll" -ErrorAction SilentlyContinue |
        Where-Object { $_.Name -match 'ggml-(cuda|hip|vulkan)' })
    foreach ($backend in $backends) {
        $runner = [string]$backend.Directory.Name
        if (-not $runner.StartsWith($Only) -or $runner -eq $Without) { continue }
        $env:Path = "$libraries;$($backend.Directory.FullName);$before"
        $env:GGML_BACKEND_PATH = $backend.FullName
        Ask-Runner $runner
    }
    if ($backends.Count -eq 0) { Ask-Runner 'builtin' }
} finally { Remove-Scratch $scratch }
