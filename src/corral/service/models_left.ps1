param([string]$Directory)
# models: how many models are in a directory, by their manifests.
$manifests = Join-Path -Path $Directory -ChildPath 'manifests'
$count = 0
if (Test-Path -LiteralPath $manifests) {
    $count = @(Get-ChildItem -LiteralPath $manifests -Recurse -File -Force).Count
}
Emit 'models' "$count"
