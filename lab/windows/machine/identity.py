"""Who a process runs as: accounts, well-known groups and their security identifiers.

Source: Microsoft, "Well-known SIDs" and "LocalService / NetworkService / LocalSystem Account".
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import NotModelled

EVERYONE = "S-1-1-0"
CREATOR_OWNER = "S-1-3-0"
NETWORK = "S-1-5-2"
INTERACTIVE = "S-1-5-4"
SERVICE = "S-1-5-6"
AUTHENTICATED_USERS = "S-1-5-11"
SYSTEM = "S-1-5-18"
LOCAL_SERVICE = "S-1-5-19"
NETWORK_SERVICE = "S-1-5-20"
ADMINISTRATORS = "S-1-5-32-544"
USERS = "S-1-5-32-545"
ALL_PACKAGES = "S-1-15-2-1"
ALL_RESTRICTED_PACKAGES = "S-1-15-2-2"
TRUSTED_INSTALLER = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"

#: Names as Windows in English and in Chinese writes them: these accounts are not translated in either.
NAMES = {
    EVERYONE: "Everyone",
    CREATOR_OWNER: "CREATOR OWNER",
    NETWORK: "NT AUTHORITY\\NETWORK",
    INTERACTIVE: "NT AUTHORITY\\INTERACTIVE",
    SERVICE: "NT AUTHORITY\\SERVICE",
    AUTHENTICATED_USERS: "NT AUTHORITY\\Authenticated Users",
    SYSTEM: "NT AUTHORITY\\SYSTEM",
    LOCAL_SERVICE: "NT AUTHORITY\\LOCAL SERVICE",
    NETWORK_SERVICE: "NT AUTHORITY\\NETWORK SERVICE",
    ADMINISTRATORS: "BUILTIN\\Administrators",
    USERS: "BUILTIN\\Users",
    ALL_PACKAGES: "APPLICATION PACKAGE AUTHORITY\\ALL APPLICATION PACKAGES",
    ALL_RESTRICTED_PACKAGES: "APPLICATION PACKAGE AUTHORITY\\ALL RESTRICTED APPLICATION PACKAGES",
    TRUSTED_INSTALLER: "NT SERVICE\\TrustedInstaller",
}
#: SIDs of the machine's own accounts begin with this: one for all lab machines, they are never joined to a domain.
MACHINE_AUTHORITY = "S-1-5-21-2718281828-3141592653-1414213562"
FIRST_USER_RID = 1001


@dataclass(frozen=True)
class Identity:
    """An account with its token. `groups` are the SIDs that count for access; `session` is 0 for services."""

    name: str
    sid: str
    groups: frozenset[str]
    elevated: bool
    session: int
    profile: str

    @property
    def sids(self) -> frozenset[str]:
        return self.groups | {self.sid}

    @property
    def user_name(self) -> str:
        """The name without its domain."""
        return self.name.rpartition("\\")[2]


def system(computer: str) -> Identity:
    groups = frozenset({EVERYONE, AUTHENTICATED_USERS, ADMINISTRATORS})
    return Identity(NAMES[SYSTEM], SYSTEM, groups, True, 0, r"C:\Windows\system32\config\systemprofile")


def local_service(computer: str) -> Identity:
    groups = frozenset({EVERYONE, AUTHENTICATED_USERS, USERS, SERVICE})
    return Identity(NAMES[LOCAL_SERVICE], LOCAL_SERVICE, groups, False, 0, r"C:\Windows\ServiceProfiles\LocalService")


def user(computer: str, name: str, *, administrator: bool, profile: str | None = None) -> Identity:
    """Somebody who logged on over the network: an administrator has the full token there, with nothing to confirm."""
    groups = {EVERYONE, AUTHENTICATED_USERS, USERS, NETWORK} | ({ADMINISTRATORS} if administrator else set())
    sid = f"{MACHINE_AUTHORITY}-{FIRST_USER_RID}"
    return Identity(f"{computer}\\{name}", sid, frozenset(groups), administrator, 0, profile or f"C:\\Users\\{name}")


@dataclass(frozen=True)
class Accounts:
    """The accounts that the machine has."""

    computer: str
    user_name: str

    def name_of(self, sid: str) -> str | None:
        """DOMAIN\\name of a SID; None when it belongs to nobody here."""
        if sid == self.user_sid:
            return f"{self.computer}\\{self.user_name}"
        return NAMES.get(sid)

    @property
    def user_sid(self) -> str:
        return f"{MACHINE_AUTHORITY}-{FIRST_USER_RID}"

    def sid_of(self, name: str) -> str | None:
        """The SID of an account by its name, with or without domain; None when there is none."""
        wanted = name.strip().lower()
        for sid, known in NAMES.items():
            if wanted in (known.lower(), known.rpartition("\\")[2].lower()):
                return sid
        if wanted in ("localsystem", "local system"):
            return SYSTEM
        if wanted in ("localservice", "networkservice"):
            return LOCAL_SERVICE if wanted == "localservice" else NETWORK_SERVICE
        own = self.user_name.lower()
        if wanted in (own, f".\\{own}", f"{self.computer.lower()}\\{own}"):
            return self.user_sid
        return None

    def identity(self, sid: str, *, administrator: bool = True) -> Identity:
        """Who a task or session with this account runs as."""
        if sid == SYSTEM:
            return system(self.computer)
        if sid == LOCAL_SERVICE:
            return local_service(self.computer)
        if sid == self.user_sid:
            return user(self.computer, self.user_name, administrator=administrator)
        raise NotModelled(f"a process that runs as {sid}")
