"""Who may log on: names of users, files of keys and the access rights without which sshd does not look at them.

Source: contrib/win32/win32compat: get_passwd() in pwd.c, check_secure_file_permission() in w32-sshfileperm.c.
"""

from __future__ import annotations

from lab.windows.machine import Machine, Session, Win32Error
from lab.windows.machine.acl import Acl
from lab.windows.machine.identity import ADMINISTRATORS, SYSTEM

from . import configuration
from .configuration import Configuration

PROGRAM_DATA = "__programdata__"
#: NT SERVICE\sshd, which may read.
SSHD = "S-1-5-80-3847866527-469524349-687026318-516638107-1125189541"
GENERIC_READ = 0x120089


def is_user(machine: Machine, name: str) -> bool:
    """Whether a client's name is the machine's user: with or without domain, in whatever case."""
    return machine.accounts.sid_of(name.replace("/", "\\", 1)) == machine.accounts.user_sid


def configured(machine: Machine) -> Configuration:
    """What sshd's configuration says to the machine's user."""
    try:
        text = machine.system.files.read_shared(configuration.PATH).decode()
    except Win32Error:
        text = configuration.DEFAULT
    return configuration.parse(text, administrator=machine.settings.administrator)


def authorized_keys(machine: Machine, found: Configuration) -> tuple[str, str]:
    """The lines of the user's file of keys, and why there are none ("" where there are)."""
    path = keys_path(found.keys_file, machine.user.profile)
    session = machine.system
    try:
        entry = session.files.entry(path)
        why = objection(session.machine.acls.get(entry.path, False), machine.accounts.user_sid)
        if why:
            return "", f"Bad permissions. {why} on file {path}."
        return _text(session, path), ""
    except Win32Error as error:
        return "", f"{path}: {error.text}"


def keys_path(keys_file: str, profile: str) -> str:
    """AuthorizedKeysFile as a path of Windows."""
    path = keys_file.replace("/", "\\")
    if path.lower().startswith(PROGRAM_DATA):
        return r"C:\ProgramData" + path[len(PROGRAM_DATA) :]
    return path if path[1:2] == ":" else f"{profile}\\{path}"


def objection(acl: Acl, user_sid: str) -> str:
    """What sshd has against a file's owner or access rights; "" where it takes it.

    Only entries that allow something count, whatever they allow: for all but Administrators, SYSTEM and the user.
    """
    trusted = {ADMINISTRATORS, SYSTEM, user_sid}
    if acl.owner not in trusted:
        return f"Bad owner {acl.owner}"
    for entry in acl.entries:
        if not entry.allow or entry.sid in trusted:
            continue
        if entry.sid == SSHD and not entry.rights & ~GENERIC_READ:
            continue
        return f"Try removing permissions for user: {entry.sid}"
    return ""


def _text(session: Session, path: str) -> str:
    return session.files.read_shared(path).decode("utf-8", "replace").removeprefix("\ufeff")
