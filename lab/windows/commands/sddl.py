"""Access control lists as text: SDDL, and what icacls.exe prints. Source: Microsoft, "ACE Strings", icacls."""

from __future__ import annotations

import re

from lab.windows.machine import acl
from lab.windows.machine import identity as sids
from lab.windows.machine.acl import Acl, Entry
from lab.windows.machine.identity import Accounts
from lab.windows.powershell import PSObject

from . import enums

#: SDDL's two letters for well-known SIDs.
LETTERS = {
    sids.EVERYONE: "WD", sids.CREATOR_OWNER: "CO", sids.NETWORK: "NU", sids.INTERACTIVE: "IU", sids.SERVICE: "SU",
    sids.AUTHENTICATED_USERS: "AU", sids.SYSTEM: "SY", sids.LOCAL_SERVICE: "LS", sids.NETWORK_SERVICE: "NS",
    sids.ADMINISTRATORS: "BA", sids.USERS: "BU", sids.ALL_PACKAGES: "AC",
}  # fmt: skip
RIGHTS = {acl.FULL: "FA", acl.READ: "FR", acl.WRITE: "FW"}
FLAGS = ((acl.OBJECT_INHERIT, "OI"), (acl.CONTAINER_INHERIT, "CI"), (acl.NO_PROPAGATE, "NP"), (acl.INHERIT_ONLY, "IO"))
#: icacls' simple rights, and its specific ones.
SIMPLE = {
    "N": 0, "F": acl.FULL, "M": acl.MODIFY, "RX": acl.READ_EXECUTE, "R": acl.READ, "W": acl.WRITE, "D": acl.DELETE,
}  # fmt: skip
SPECIFIC = {
    "DE": 0x10000, "RC": 0x20000, "WDAC": 0x40000, "WO": 0x80000, "S": 0x100000, "RD": 1, "WD": 2, "AD": 4, "REA": 8,
    "WEA": 0x10, "X": 0x20, "DC": 0x40, "RA": 0x80, "WA": 0x100,
}  # fmt: skip
PART = re.compile(r"\(([A-Za-z,]+)\)")


def sddl(listed: Acl) -> str:
    """Owner, group and list, as Get-Acl's Sddl."""
    owner = LETTERS.get(listed.owner, listed.owner)
    marks = ("P" if listed.protected else "") + "AI"
    return f"O:{owner}G:{owner}D:{marks}{''.join(map(_entry, listed.entries))}"


def _entry(entry: Entry) -> str:
    flags = "".join(letters for flag, letters in FLAGS if entry.flags & flag) + ("ID" if entry.inherited else "")
    rights = RIGHTS.get(entry.rights, f"0x{entry.rights:x}")
    return f"({'A' if entry.allow else 'D'};{flags};{rights};;;{LETTERS.get(entry.sid, entry.sid)})"


def rule_object(entry: Entry, accounts: Accounts) -> PSObject:
    """An entry as FileSystemAccessRule."""
    name = accounts.name_of(entry.sid) or entry.sid
    inherit = (1 if entry.flags & acl.CONTAINER_INHERIT else 0) | (2 if entry.flags & acl.OBJECT_INHERIT else 0)
    pass_on = (1 if entry.flags & acl.NO_PROPAGATE else 0) | (2 if entry.flags & acl.INHERIT_ONLY else 0)
    return PSObject(
        {
            "FileSystemRights": enums.RIGHTS.of(entry.rights),
            "AccessControlType": enums.ACCESS_TYPE.of(0 if entry.allow else 1),
            "IdentityReference": PSObject({"Value": name}, "System.Security.Principal.NTAccount", text=name),
            "IsInherited": entry.inherited,
            "InheritanceFlags": enums.INHERITANCE.of(inherit),
            "PropagationFlags": enums.PROPAGATION.of(pass_on),
        },
        "System.Security.AccessControl.FileSystemAccessRule",
    )


def parse_rights(text: str) -> tuple[int, int]:
    """Rights and flags of icacls' `(OI)(CI)F`, `M`, `(RX,W)`; ValueError for what it does not take."""
    flags = rights = 0
    names = {letters: flag for flag, letters in FLAGS}
    rest = text
    for match in PART.finditer(text):
        parts = match[1].upper().split(",")
        if len(parts) == 1 and parts[0] in names:
            flags |= names[parts[0]]
        else:
            for part in parts:
                rights |= {**SPECIFIC, **SIMPLE}[part] if part in SPECIFIC or part in SIMPLE else _unknown(text)
        rest = rest.replace(match[0], "", 1)
    for part in [rest.upper()] if rest else []:
        rights |= SIMPLE[part] if part in SIMPLE else _unknown(text)
    if not rights:
        _unknown(text)
    return rights, flags


def shown_rights(entry: Entry) -> str:
    """As icacls prints an entry: (I)(OI)(CI)(F)."""
    flags = "".join(f"({letters})" for flag, letters in FLAGS if entry.flags & flag)
    known = next((name for name, rights in SIMPLE.items() if rights == entry.rights), None)
    if known is None:
        known = ",".join(name for name, right in SPECIFIC.items() if entry.rights & right)
    return f"{'(I)' if entry.inherited else ''}{'' if entry.allow else '(DENY)'}{flags}({known})"


def _unknown(text: str) -> int:
    raise ValueError(f"no rights of icacls: {text!r}")
