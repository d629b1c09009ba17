param([string]$Path)
# text: of a file in UTF-8; nothing where there is none.
$text = Read-TextFile $Path
if ($null -ne $text) { Emit 'text' $text }
