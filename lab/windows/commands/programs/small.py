"""whoami.exe, fsutil.exe, nvidia-smi.exe."""

from __future__ import annotations

import shutil

from lab.windows.machine.errors import NotModelled, Win32Error

from .running import Invocation, on_host


def whoami(call: Invocation) -> int:
    if call.arguments:
        raise NotModelled(f"whoami.exe {call.text}")
    call.say(call.shell.session.identity.name.lower())
    return 0


def fsutil(call: Invocation) -> int:
    """`fsutil.exe sparse setflag FILE`: holes of files are the host's own business, all files may have them."""
    words = [word.lower() for word in call.arguments[:2]]
    if words != ["sparse", "setflag"] or len(call.arguments) != 3:
        raise NotModelled(f"fsutil.exe {call.text}")
    files = call.shell.session.files
    try:
        found = files.entry(call.arguments[2])
        files.check_writable(found.path)
    except Win32Error as error:
        call.say(f"Error:  {error.text}")
        return 1
    if not call.shell.machine.volumes.get(found.path.drive).keeps_acls:
        call.say("Error:  The request is not supported.")
        return 1
    return 0


def nvidia_smi(call: Invocation) -> int:
    """The host's own, which reads the declared GPUs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise NotModelled("nvidia-smi.exe: the host has none")
    return on_host([program, *call.arguments], call, {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, "/")
