"""The environment of a session's shell.

Source: contrib/win32/win32compat/w32-doexec.c, setup_session_env() and setup_session_user_vars(), and session.c,
do_setup_env(). sshd makes it once for a connection, of the registry as it is at that moment.
"""

from __future__ import annotations

from typing import NamedTuple

from lab.windows.machine import Machine
from lab.windows.machine.environment import Block


class Endpoints(NamedTuple):
    """The two ends of a TCP connection."""

    client: str
    client_port: int
    server: str
    server_port: int


def session_environment(machine: Machine, shell: str, ends: Endpoints) -> Block:
    """The variables; `shell` is the path of the default shell."""
    identity = machine.user
    block = machine.session(identity).environment()
    # Names that were looked up are in lower case from then on.
    name = identity.user_name.lower()
    profile = block["USERPROFILE"]
    computer = machine.settings.computer
    prompt = f"{name}@{computer}".replace("$", "$$")
    for variable, value in {
        "USERNAME": name,
        "PROMPT": f"{prompt} $P$G",
        "HOMEDRIVE": profile[:2],
        "HOMEPATH": profile[2:],
        "USER": name,
        "LOGNAME": name,
        "HOME": profile,
        "SHELL": shell,
        "SSH_CLIENT": f"{ends.client} {ends.client_port} {ends.server_port}",
        "SSH_CONNECTION": f"{ends.client} {ends.client_port} {ends.server} {ends.server_port}",
    }.items():
        block[variable] = value
    return block
