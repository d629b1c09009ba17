# Puts a file that lies beside another in its place, in one step.
param([string]$From, [string]$To)

Move-Over $From $To
