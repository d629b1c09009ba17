"""whoami.exe, fsutil.exe, nvidia-smi.exe."""

from __future__ import annotations

import shutil
import subprocess

from lab.windows.machine.errors import NotModelled, Win32Error

from .running import Invocation, on_host

COMPUTE_APPS = "--query-compute-apps="


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
    """The host's own, which reads the declared GPUs. Nobody is told what a program holds of a card: Windows' driver
    model (WDDM) manages memory itself. Source: NVIDIA, nvidia-smi(1), "Processes", "Used GPU Memory"."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise NotModelled("nvidia-smi.exe: the host has none")
    asked = [word.partition("=")[2].split(",") for word in call.arguments if word.startswith(COMPUTE_APPS)]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    if not asked or "used_memory" not in asked[0]:
        return on_host([program, *call.arguments], call, environment, "/")
    done = subprocess.run([program, *call.arguments], env=environment, capture_output=True, text=True, check=False)
    column = asked[0].index("used_memory")
    for line in done.stdout.splitlines():
        cells = line.split(", ")
        if cells[column].split()[0].isdigit():
            cells[column] = "[N/A]"
        call.say(", ".join(cells))
    return done.returncode
