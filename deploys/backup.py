"""Saves what a host has and nothing can bring again: models that no registry has, its key, settings made by hand.

pyinfra inventory.py deploys/backup.py --limit HOST
"""

from corral.operations import backup

backup(name="Save what only this host has")
