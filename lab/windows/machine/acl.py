"""Access control lists of files and directories.

Every path has the entries that were set on it, and those that come down from the directories above, as
SetNamedSecurityInfo keeps them. Sources: Microsoft, "Automatic Propagation of Inheritable ACEs", "File Security and
Access Rights", icacls' documentation; default lists as icacls shows them on a new Windows 11.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from .identity import (
    ADMINISTRATORS,
    ALL_PACKAGES,
    ALL_RESTRICTED_PACKAGES,
    AUTHENTICATED_USERS,
    CREATOR_OWNER,
    LOCAL_SERVICE,
    SYSTEM,
    TRUSTED_INSTALLER,
    USERS,
    Accounts,
    Identity,
)
from .paths import FullPath
from .store import Store

DOCUMENT = "acls"

OBJECT_INHERIT = 0x1
CONTAINER_INHERIT = 0x2
NO_PROPAGATE = 0x4
INHERIT_ONLY = 0x8
BOTH = OBJECT_INHERIT | CONTAINER_INHERIT

READ_DATA = 0x1
WRITE_DATA = 0x2
APPEND_DATA = 0x4
DELETE_CHILD = 0x40
DELETE = 0x10000
READ_CONTROL = 0x20000
WRITE_DAC = 0x40000
FULL = 0x1F01FF
MODIFY = 0x1301BF
READ_EXECUTE = 0x1200A9
READ = 0x120089
WRITE = 0x100116


@dataclass(frozen=True)
class Entry:
    """An access control entry. `flags`: OBJECT_INHERIT and so on. `inherited`: it came from a directory above."""

    sid: str
    rights: int
    flags: int = 0
    allow: bool = True
    inherited: bool = False


@dataclass(frozen=True)
class Acl:
    """A list in the order in which Windows keeps it: own before inherited, denied before allowed."""

    owner: str
    entries: tuple[Entry, ...]
    protected: bool = False

    def grants(self, identity: Identity, rights: int) -> bool:
        """Whether the identity gets all of these rights."""
        left = rights
        if self.owner in identity.sids:
            left &= ~(READ_CONTROL | WRITE_DAC)
        for entry in self.entries:
            if entry.flags & INHERIT_ONLY or entry.sid not in identity.sids:
                continue
            if not entry.allow:
                if entry.rights & left:
                    return False
            else:
                left &= ~entry.rights
            if not left:
                return True
        return not left


#: The root of a drive that holds no Windows, as it is formatted.
DATA_DISK = Acl(SYSTEM, (
    Entry(ADMINISTRATORS, FULL, BOTH),
    Entry(SYSTEM, FULL, BOTH),
    Entry(AUTHENTICATED_USERS, MODIFY, BOTH),
    Entry(USERS, READ_EXECUTE, BOTH),
))  # fmt: skip


class Acls:
    """The lists of all paths."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._defaults = _defaults(accounts)

    def get(self, path: FullPath, is_directory: bool) -> Acl:
        """The list of a path, whether it was ever set or not."""
        own = self._own(path)
        owner = own["owner"] if own else self._owner(path)
        protected = bool(own and own["protected"])
        inherited: tuple[Entry, ...] = ()
        if own and own.get("kept") is not None:
            inherited = tuple(Entry(**entry) for entry in own["kept"])
        elif path.parts and not protected:
            inherited = self._passed_on(path.parent, is_directory, owner)
        entries = [Entry(**entry) for entry in own["entries"]] if own else []
        ordered = sorted(entries, key=lambda entry: entry.allow) + list(inherited)
        return Acl(owner, tuple(ordered), protected)

    def set_entries(self, path: FullPath, entries: Iterable[Entry], protected: bool) -> None:
        """Sets a path's own entries; `protected`: nothing comes from above any more."""
        with self._store.change(DOCUMENT) as document:
            known = self._record(document, path)
            known["entries"] = [asdict(entry) for entry in entries]
            known["protected"] = protected
            known["kept"] = None

    def set_owner(self, path: FullPath, sid: str) -> None:
        with self._store.change(DOCUMENT) as document:
            self._record(document, path)["owner"] = sid

    def created(self, path: FullPath, identity: Identity) -> None:
        """A new file or directory: its owner is its maker; what is made by an administrator belongs to all of them."""
        owner = ADMINISTRATORS if ADMINISTRATORS in identity.groups and identity.sid != SYSTEM else identity.sid
        if owner != self._owner(path) or self._own(path):
            with self._store.change(DOCUMENT) as document:
                self._forget(document, path)
                self._record(document, path)["owner"] = owner

    def moved(self, source: FullPath, target: FullPath, is_directory: bool) -> None:
        """A rename on one drive: the list goes along as it is, with what was inherited at the old place."""
        kept = self.get(source, is_directory)
        with self._store.change(DOCUMENT) as document:
            inside = [key for key in document if key.startswith(source.key + "\\")]
            records = {target.key + key[len(source.key) :]: document.pop(key) for key in inside}
            own = document.pop(source.key, None)
            self._forget(document, target)
            document.update(records)
            above = [self._passed_on(path.parent, is_directory, kept.owner) for path in (source, target)]
            same = above[0] == above[1]
            if own is None and same:
                if kept.owner != self._owner(target):
                    self._record(document, target)["owner"] = kept.owner
                return
            record = own or {"owner": kept.owner, "protected": False, "entries": []}
            if not record["protected"] and not same:
                record["kept"] = [asdict(entry) for entry in kept.entries if entry.inherited]
            document[target.key] = record

    def removed(self, path: FullPath) -> None:
        with self._store.change(DOCUMENT) as document:
            self._forget(document, path)

    @staticmethod
    def _forget(document: dict[str, Any], path: FullPath) -> None:
        for key in [key for key in document if key == path.key or key.startswith(path.key + "\\")]:
            del document[key]

    def _record(self, document: dict[str, Any], path: FullPath) -> dict[str, Any]:
        record: dict[str, Any] = document.setdefault(path.key, self._unset(path))
        return record

    def _own(self, path: FullPath) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._store.read(DOCUMENT).get(path.key)
        return self._unset(path) if found is None and self._default(path) else found

    def _unset(self, path: FullPath) -> dict[str, Any]:
        """The record of a path on which nothing was set yet."""
        default = self._default(path)
        return {
            "owner": self._owner(path),
            "protected": bool(default and default.protected),
            "entries": [asdict(entry) for entry in default.entries] if default else [],
        }

    def _owner(self, path: FullPath) -> str:
        default = self._default(path)
        return default.owner if default else ADMINISTRATORS

    def _default(self, path: FullPath) -> Acl | None:
        return self._defaults.get(path.key) or (None if path.parts else DATA_DISK)

    def _passed_on(self, parent: FullPath, is_directory: bool, owner: str) -> tuple[Entry, ...]:
        """What a file or directory of this owner inherits from the directory that it is made in."""
        passed = []
        for entry in self.get(parent, True).entries:
            if entry.sid == CREATOR_OWNER and entry.flags & (BOTH if is_directory else OBJECT_INHERIT):
                passed.append(Entry(owner, entry.rights, 0, entry.allow, inherited=True))
                if is_directory:
                    passed.append(replace(entry, inherited=True))
                continue
            if is_directory:
                if entry.flags & CONTAINER_INHERIT:
                    flags = 0 if entry.flags & NO_PROPAGATE else entry.flags & ~INHERIT_ONLY
                elif entry.flags & OBJECT_INHERIT and not entry.flags & NO_PROPAGATE:
                    flags = entry.flags | INHERIT_ONLY
                else:
                    continue
            elif entry.flags & OBJECT_INHERIT:
                flags = 0
            else:
                continue
            passed.append(replace(entry, flags=flags, inherited=True))
        return tuple(passed)


def _defaults(accounts: Accounts) -> dict[str, Acl]:
    everyone_runs = (Entry(ALL_PACKAGES, READ_EXECUTE, BOTH), Entry(ALL_RESTRICTED_PACKAGES, READ_EXECUTE, BOTH))
    root = Acl(TRUSTED_INSTALLER, (
        Entry(ADMINISTRATORS, FULL, BOTH),
        Entry(SYSTEM, FULL, BOTH),
        Entry(USERS, READ_EXECUTE, BOTH),
        Entry(AUTHENTICATED_USERS, MODIFY, BOTH | INHERIT_ONLY),
        Entry(AUTHENTICATED_USERS, APPEND_DATA),
    ))  # fmt: skip
    programs = Acl(TRUSTED_INSTALLER, (
        Entry(TRUSTED_INSTALLER, FULL, CONTAINER_INHERIT),
        Entry(SYSTEM, FULL, BOTH),
        Entry(ADMINISTRATORS, FULL, BOTH),
        Entry(USERS, READ_EXECUTE, BOTH),
        Entry(CREATOR_OWNER, FULL, BOTH | INHERIT_ONLY),
        *everyone_runs,
    ), protected=True)  # fmt: skip
    data = Acl(SYSTEM, (
        Entry(SYSTEM, FULL, BOTH),
        Entry(ADMINISTRATORS, FULL, BOTH),
        Entry(CREATOR_OWNER, FULL, BOTH | INHERIT_ONLY),
        Entry(USERS, READ_EXECUTE, BOTH),
        Entry(USERS, 0x116, CONTAINER_INHERIT),
    ), protected=True)  # fmt: skip
    ssh = Acl(ADMINISTRATORS, (
        Entry(SYSTEM, FULL, BOTH),
        Entry(ADMINISTRATORS, FULL, BOTH),
        Entry(AUTHENTICATED_USERS, READ_EXECUTE, BOTH),
    ), protected=True)  # fmt: skip
    keys = Acl(ADMINISTRATORS, (Entry(ADMINISTRATORS, FULL), Entry(SYSTEM, FULL)), protected=True)

    def home(sid: str) -> Acl:
        entries = tuple(Entry(owner, FULL, BOTH) for owner in (SYSTEM, ADMINISTRATORS, sid))
        return Acl(SYSTEM, entries, protected=True)

    return {
        "c:\\": root,
        r"c:\program files": programs,
        r"c:\program files (x86)": programs,
        r"c:\windows": programs,
        r"c:\windows\serviceprofiles\localservice": home(LOCAL_SERVICE),
        r"c:\programdata": data,
        r"c:\programdata\ssh": ssh,
        r"c:\programdata\ssh\administrators_authorized_keys": keys,
        rf"c:\users\{accounts.user_name.lower()}": home(accounts.user_sid),
    }
