"""Brings back what deploys/backup.py has saved of a host. Ollama must be set up (deploys/r1.py).

pyinfra inventory.py deploys/restore.py --limit HOST
"""

from corral.operations import require_backup, restore, verify

require_backup(name="See that there is a backup")
restore(name="Bring back what was saved")
verify(name="Verify from the clients' side")
