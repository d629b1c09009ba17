"""Throwaway hosts on one machine: real init, sshd, users, firewalls and reboots, no way out.

`python -m lab up`, `lab/run CMD...`; from Python: `Lab`.
"""

from lab.config import Host
from lab.errors import LabError
from lab.hosts import Completed, Lab, SshUse, State
from lab.mirror import Cut

__all__ = ["Completed", "Cut", "Host", "Lab", "LabError", "SshUse", "State"]
