"""sshd_config, as far as the stand-in follows it.

Source: contrib/win32/openssh/sshd_config, the file that Windows comes with; sshd_config(5) for what counts: of each
keyword the first value, a Match block over what is outside of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PATH = r"C:\ProgramData\ssh\sshd_config"
DEFAULT = """\
# This is the sshd server system-wide configuration file.

#Port 22
#PasswordAuthentication yes
#MaxAuthTries 6
#MaxSessions 10
#AllowTcpForwarding yes
#ClientAliveInterval 0

AuthorizedKeysFile .ssh/authorized_keys

Subsystem sftp sftp-server.exe

Match Group administrators
       AuthorizedKeysFile __PROGRAMDATA__/ssh/administrators_authorized_keys
"""


@dataclass(frozen=True)
class Configuration:
    """What holds for one user. keys_file: relative to the user's profile, or a full path. port: None for sshd's own."""

    keys_file: str = ".ssh/authorized_keys"
    port: int | None = None
    max_sessions: int = 10
    max_auth_tries: int = 6
    password: bool = True
    public_key: bool = True
    forwarding: bool = True
    sftp: bool = True


def parse(text: str, *, administrator: bool) -> Configuration:
    """What a configuration says to a user; raises ValueError for a Match that is not modelled."""
    outside: dict[str, str] = {}
    inside: dict[str, str] = {}
    subsystems: dict[str, str] = {}
    block = outside
    for line in text.splitlines():
        keyword, _, value = line.strip().partition(" ")
        keyword, value = keyword.lower(), value.strip()
        if not keyword or keyword.startswith("#"):
            continue
        if keyword == "match":
            if value.lower() not in ("group administrators", "all"):
                raise ValueError(f"sshd_config: Match {value}")
            block = inside if administrator or value.lower() == "all" else {}
        elif keyword == "subsystem":
            name, _, program = value.partition(" ")
            subsystems.setdefault(name, program.strip())
        else:
            block.setdefault(keyword, value)
    found = {**outside, **inside}
    default = Configuration()
    return Configuration(
        keys_file=found.get("authorizedkeysfile", default.keys_file),
        port=int(outside["port"]) if "port" in outside else default.port,
        max_sessions=int(found.get("maxsessions", default.max_sessions)),
        max_auth_tries=int(found.get("maxauthtries", default.max_auth_tries)),
        password=_yes(found, "passwordauthentication"),
        public_key=_yes(found, "pubkeyauthentication"),
        forwarding=found.get("allowtcpforwarding", "yes").lower() in ("yes", "all", "local"),
        sftp="sftp" in subsystems,
    )


def _yes(found: Mapping[str, str], keyword: str) -> bool:
    return found.get(keyword, "yes").lower() == "yes"
