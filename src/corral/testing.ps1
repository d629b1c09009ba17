param([string]$Command)
# Runs Command as a script and answers what it put out, what kept it from going on, and its exit code.
$lines = @()
$failure = ''
try {
    $global:LASTEXITCODE = 0
    $lines = @(& ([ScriptBlock]::Create($Command)) | Out-String -Stream -Width 240)
    $code = $global:LASTEXITCODE
} catch {
    $failure = [string]$_.Exception.Message
    $code = 1
}
$global:LASTEXITCODE = 0
Emit 'stdout' (ConvertTo-Base64 (($lines -join "`n") + $(if ($lines.Count -gt 0) { "`n" } else { '' })))
Emit 'stderr' (ConvertTo-Base64 $failure)
Emit 'code' "$code"
