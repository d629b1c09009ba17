# What a path is: a file, a directory, or nothing.
param([string]$Path)

if (-not (Test-Path -LiteralPath $Path)) { Emit-Json 'result' @{ type = 'none' }; return }
$item = Get-Item -LiteralPath $Path -Force
if ($item.PSIsContainer) {
  Emit-Json 'result' @{ type = 'directory'; mtime = $item.LastWriteTimeUtc.ToFileTimeUtc() }
}
else {
  Emit-Json 'result' @{
    type = 'file'; size = $item.Length; mtime = $item.LastWriteTimeUtc.ToFileTimeUtc(); read_only = $item.IsReadOnly
  }
}
