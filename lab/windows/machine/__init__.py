"""The machine that stands for a Windows PC: registry, files, processes, tasks, firewall, kept in one directory.

Nothing here knows PowerShell; `lab.windows.commands` joins both. What can be real is: the drives' files are those that
programs under Wine see, the firewall's rules become nftables in the host, tasks run as processes of the host. Where the
model does not know something it raises NotModelled, which no script gets past.

    machine = Machine()                              the host's own, in /var/lib/windows
    session = machine.session(machine.user)          as the user who logs on over ssh sees it
    session.files, .registry, .variables, .firewall, .tasks; machine.processes, .network, .volumes, .services, .acls
"""

from .errors import ComError, NotModelled, Win32Error
from .identity import Identity
from .machine import STATE, Machine, Session, Settings

__all__ = ["STATE", "ComError", "Identity", "Machine", "NotModelled", "Session", "Settings", "Win32Error"]
