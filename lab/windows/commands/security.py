"""Types of who runs the script, of sockets, of environment variables, and the Task Scheduler's COM object."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from lab.windows.machine.environment import Scope
from lab.windows.machine.errors import ComError, NotModelled, Win32Error
from lab.windows.machine.identity import (
    ADMINISTRATORS,
    AUTHENTICATED_USERS,
    CREATOR_OWNER,
    EVERYONE,
    LOCAL_SERVICE,
    NETWORK_SERVICE,
    SYSTEM,
    USERS,
    Identity,
)
from lab.windows.powershell import DotNetType, EnumValue, Hashtable, NetException, Property, PSObject, method
from lab.windows.powershell.dotnet.streams import STREAM, Stream

from . import enums
from .support import Shell, net

WELL_KNOWN = {
    "WorldSid": EVERYONE, "CreatorOwnerSid": CREATOR_OWNER, "AuthenticatedUserSid": AUTHENTICATED_USERS,
    "LocalSystemSid": SYSTEM, "LocalServiceSid": LOCAL_SERVICE, "NetworkServiceSid": NETWORK_SERVICE,
    "BuiltinAdministratorsSid": ADMINISTRATORS, "BuiltinUsersSid": USERS,
}  # fmt: skip
ROLES = {"Administrator": ADMINISTRATORS, "User": USERS}
CONNECT_S = 21.0


class WindowsIdentity:
    """[Security.Principal.WindowsIdentity]"""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity


class WindowsPrincipal:
    """[Security.Principal.WindowsPrincipal]"""

    def __init__(self, identity: WindowsIdentity) -> None:
        self.identity = identity


class SecurityIdentifier:
    """[Security.Principal.SecurityIdentifier]"""

    def __init__(self, value: str) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecurityIdentifier) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)


class NTAccount:
    """[Security.Principal.NTAccount]"""

    def __init__(self, name: str) -> None:
        self.name = name


class SocketStream(Stream):
    """[Net.Sockets.NetworkStream]"""

    can_write = True

    def __init__(self, made: socket.socket) -> None:
        self._socket = made

    def read(self, count: int) -> bytes:
        return self._socket.recv(count)

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


class TcpClient:
    """[Net.Sockets.TcpClient]"""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.receive_ms = 0
        self.send_ms = 0

    def connect(self, host: str, port: int) -> None:
        try:
            self.socket = socket.create_connection((host, port), CONNECT_S)
            self.socket.settimeout(self.receive_ms / 1000 or None)
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError)
            number = 10061 if refused else 11001 if isinstance(error, socket.gaierror) else 10060
            text = {
                10061: "No connection could be made because the target machine actively refused it",
                11001: "No such host is known",
                10060: "A connection attempt failed because the connected party did not properly respond after a "
                "period of time",
            }[number]
            raise NetException(
                "System.Net.Sockets.SocketException", f"{text} {host}:{port}",
                properties={"ErrorCode": number, "NativeErrorCode": number},
            ) from error  # fmt: skip

    def close(self) -> None:
        if self.socket:
            with contextlib.suppress(OSError):
                self.socket.close()


def types(shell: Shell) -> list[DotNetType]:
    return [*_security(shell), *_sockets(), _environment(shell), _scheduler(shell)]


def _security(shell: Shell) -> list[DotNetType]:
    accounts = shell.machine.accounts

    def in_role(principal: WindowsPrincipal, role: EnumValue) -> bool:
        sid = ROLES.get(role.name)
        if sid is None:
            raise NotModelled(f"the role {role.name}")
        return sid in principal.identity.identity.groups

    def in_group(principal: WindowsPrincipal, sid: SecurityIdentifier) -> bool:
        return sid.value in principal.identity.identity.sids

    def identifier(text: str) -> SecurityIdentifier:
        if not text.upper().startswith("S-1-"):
            raise NetException("System.ArgumentException", "Value was invalid.\r\nParameter name: sddlForm")
        return SecurityIdentifier(text.upper())

    def well_known(kind: EnumValue, domain: object) -> SecurityIdentifier:
        return SecurityIdentifier(WELL_KNOWN[kind.name])

    def unmapped() -> NetException:
        return NetException(
            "System.Security.Principal.IdentityNotMappedException",
            "Some or all identity references could not be translated.",
        )

    def to_account(sid: SecurityIdentifier, kind: DotNetType) -> Any:
        if kind.name.endswith("SecurityIdentifier"):
            return sid
        name = accounts.name_of(sid.value)
        if name is None:
            raise unmapped()
        return NTAccount(name)

    def to_sid(account: NTAccount, kind: DotNetType) -> Any:
        if kind.name.endswith("NTAccount"):
            return account
        sid = accounts.sid_of(account.name)
        if sid is None:
            raise unmapped()
        return SecurityIdentifier(sid)

    sid_type = DotNetType(
        "System.Security.Principal.SecurityIdentifier",
        python=SecurityIdentifier,
        new=method(net(identifier), "string")
        | method(net(well_known), enums.WELL_KNOWN_SID.name, "System.Security.Principal.SecurityIdentifier"),
        members={"Value": Property(lambda sid: sid.value), "Translate": method(net(to_account), "type")},
        text=lambda sid: str(sid.value),
    )
    account_type = DotNetType(
        "System.Security.Principal.NTAccount",
        python=NTAccount,
        new=method(NTAccount, "string"),
        members={"Value": Property(lambda account: account.name), "Translate": method(net(to_sid), "type")},
        text=lambda account: str(account.name),
    )
    identity_type = DotNetType(
        "System.Security.Principal.WindowsIdentity",
        python=WindowsIdentity,
        statics={"GetCurrent": method(lambda: WindowsIdentity(shell.session.identity))},
        members={
            "Name": Property(lambda found: found.identity.name),
            "User": Property(lambda found: SecurityIdentifier(found.identity.sid)),
            "Groups": Property(lambda found: [SecurityIdentifier(sid) for sid in sorted(found.identity.groups)]),
            "IsSystem": Property(lambda found: found.identity.sid == SYSTEM),
            "IsAuthenticated": Property(lambda found: True),
            "Dispose": method(lambda found: None),
        },
    )
    principal_type = DotNetType(
        "System.Security.Principal.WindowsPrincipal",
        python=WindowsPrincipal,
        new=method(WindowsPrincipal, identity_type.name),
        # [Security.Principal.WindowsPrincipal]$identity
        convert=lambda value: WindowsPrincipal(value) if isinstance(value, WindowsIdentity) else _no_cast(),
        members={
            "Identity": Property(lambda principal: principal.identity),
            "IsInRole": method(net(in_role), enums.BUILT_IN_ROLE.name) | method(net(in_group), sid_type.name),
        },
    )
    return [sid_type, account_type, identity_type, principal_type]


def _no_cast() -> WindowsPrincipal:
    raise ValueError("no identity")


def _sockets() -> list[DotNetType]:
    def stream(client: TcpClient) -> SocketStream:
        if client.socket is None:
            raise NetException(
                "System.InvalidOperationException", "The operation is not allowed on non-connected sockets."
            )
        return SocketStream(client.socket)

    def connected(host: str, port: int) -> TcpClient:
        client = TcpClient()
        client.connect(host, port)
        return client

    def limit(name: str) -> Property:
        return Property(lambda client: getattr(client, name), lambda client, value: setattr(client, name, value), "int")

    return [
        DotNetType(
            "System.Net.Sockets.TcpClient",
            python=TcpClient,
            new=method(TcpClient) | method(net(connected), "string", "int"),
            members={
                "Connect": method(net(TcpClient.connect), "string", "int"),
                "Connected": Property(lambda client: client.socket is not None),
                "GetStream": method(net(stream)),
                "ReceiveTimeout": limit("receive_ms"),
                "SendTimeout": limit("send_ms"),
                "Close": method(TcpClient.close),
                "Dispose": method(TcpClient.close),
            },
        ),
        DotNetType("System.Net.Sockets.NetworkStream", base=STREAM, python=SocketStream),
    ]


def _environment(shell: Shell) -> DotNetType:
    """[Environment]: the Machine and User variables. The process's own are the engine's."""
    variables = shell.session.variables
    scopes = {"Machine": Scope.MACHINE, "User": Scope.USER}
    target = "System.EnvironmentVariableTarget"

    def get(name: str, where: EnumValue) -> str | None:
        if where.name == "Process":
            return shell.environment.get(name)
        return variables.get(scopes[where.name], name, shell.environment)

    def every(where: EnumValue) -> Hashtable:
        if where.name == "Process":
            return Hashtable(dict(shell.environment))
        return Hashtable(variables.all(scopes[where.name], shell.environment))

    def put(name: str, value: str | None, where: EnumValue) -> None:
        if not name or "=" in name or name.startswith("\0"):
            raise NetException("System.ArgumentException", "Environment variable name cannot contain equal character.")
        if where.name == "Process":
            if value:
                shell.environment[name] = value
            else:
                shell.environment.pop(name, None)
            return
        # Source: .NET Framework's environment.cs: 255 characters at most for User, 1024 for Machine.
        if len(name) >= (255 if where.name == "User" else 1024):
            raise NetException("System.ArgumentException", "Environment variable name or value is too long.")
        try:
            variables.set(scopes[where.name], name, value)
        except Win32Error as error:
            raise NetException(
                "System.Security.SecurityException", "Requested registry access is not allowed."
            ) from error

    return DotNetType(
        "System.Environment",
        statics={
            "GetEnvironmentVariable": method(net(get), "string", target, nullable=True),
            "GetEnvironmentVariables": method(net(every), target),
            "SetEnvironmentVariable": method(net(put), "string", "string", target),
        },
    )


def _scheduler(shell: Shell) -> DotNetType:
    """The COM class Schedule.Service, as far as folders go: no cmdlet has them."""
    tasks = shell.session.tasks

    def folder_object(path: str) -> PSObject:
        def inside(made: PSObject, flags: int) -> PSObject:
            below = [task for task in tasks.all() if task.folder.rstrip("\\").lower() == path.rstrip("\\").lower()]
            return PSObject({"Count": len(below)}, "System.__ComObject")

        def delete(made: PSObject, name: str, flags: int) -> None:
            full = f"{path.rstrip(chr(92))}\\{name.strip(chr(92))}"
            try:
                tasks.remove_folder(next((known for known in tasks.folders() if known.lower() == full.lower()), full))
            except (ComError, Win32Error) as error:
                number = error.hresult % 2**32
                raise NetException(
                    "System.Runtime.InteropServices.COMException"
                    if number != 0x80070002
                    else "System.IO.FileNotFoundException",
                    f"{error.text} (Exception from HRESULT: 0x{number:08X})",
                    properties={"HResult": number - 2**32},
                ) from error

        def folders(made: PSObject, flags: int) -> list[PSObject]:
            start = path.rstrip("\\") + "\\"
            return [
                folder_object(known)
                for known in tasks.folders()
                if known.startswith(start) and "\\" not in known[len(start) :]
            ]

        return PSObject(
            {"Name": path.rpartition("\\")[2] or "\\", "Path": path},
            "System.__ComObject",
            methods={"GetTasks": inside, "DeleteFolder": delete, "GetFolders": folders},
        )

    def get_folder(made: PSObject, path: str) -> PSObject:
        known = next((known for known in ["\\", *tasks.folders()] if known.lower() == path.lower()), None)
        if known is None:
            raise NetException(
                "System.IO.FileNotFoundException",
                "The system cannot find the file specified. (Exception from HRESULT: 0x80070002)",
                properties={"HResult": 0x80070002 - 2**32},
            )
        return folder_object(known)

    def make() -> PSObject:
        return PSObject({}, "System.__ComObject", methods={"Connect": lambda made: None, "GetFolder": get_folder})

    return DotNetType("Schedule.Service", new=method(make))
