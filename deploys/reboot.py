"""Reboots hosts and verifies that they serve again, with nobody logged in.

pyinfra inventory.py deploys/reboot.py --limit HOST
"""

from corral.operations import reboot, verify

reboot(name="Reboot the host")
verify(name="Verify from the clients' side")
