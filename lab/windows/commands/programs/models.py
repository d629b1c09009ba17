"""Which program is modelled, and by what."""

from __future__ import annotations

from lab.windows.machine.launch import MODELLED, POWERSHELL

from . import access, archives, ends, network, shells, small
from .running import Invocation, Program, started

#: What each modelled program does, by its name in System32. powershell.exe is a process of its own.
MODELS: dict[str, Program] = {
    "curl.exe": network.curl,
    "fsutil.exe": small.fsutil,
    "icacls.exe": access.icacls,
    "netsh.exe": network.netsh,
    "nvidia-smi.exe": small.nvidia_smi,
    "shutdown.exe": ends.shutdown,
    "tar.exe": archives.tar,
    "taskkill.exe": ends.taskkill,
    "whoami.exe": small.whoami,
}


def run_program(call: Invocation) -> int:
    """Runs a program to its end."""
    if call.program.key not in MODELLED or call.program.key == POWERSHELL.lower():
        return started(call)
    if call.program.name.lower() == "cmd.exe":
        return shells.cmd(call, run_program)
    return MODELS[call.program.name.lower()](call)
