"""Cmdlets of the system: CIM classes, volumes, services, optional features, culture, access control lists, reboot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from lab.windows.machine import acl
from lab.windows.machine.errors import SERVICE_DOES_NOT_EXIST, NotModelled, Win32Error
from lab.windows.machine.hives import CURRENT_VERSION
from lab.windows.machine.identity import ADMINISTRATORS
from lab.windows.machine.services import Service
from lab.windows.machine.volumes import DRIVE_TYPES
from lab.windows.powershell import Call, Command, Parameter, PowerShellError, PSObject
from lab.windows.powershell.moments import DateTime
from lab.windows.powershell.values import Char, UInt16, UInt32, UInt64

from . import enums
from .items import PATH
from .network import cim, enumerated, nothing_found
from .sddl import rule_object, sddl
from .support import LITERAL_PATH, Shell, cmdlet, has_wildcard, wildcard
from .targets import FileTarget, chosen

CIMV2 = "root/cimv2"
#: A condition of WQL: name, operator, and a text, a number or a word.
CONDITION = re.compile(
    r"\s*(\w+)\s*(<>|!=|>=|<=|=|<|>|\blike\b)\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|(-?\d+|true|false|null))\s*",
    re.I,
)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": eq, "<>": ne, "!=": ne, "<": lt, ">": gt, "<=": le, ">=": ge,
}  # fmt: skip
JOIN = re.compile(r"\s*(and|or)\b", re.I)


def commands(shell: Shell) -> list[Command]:
    return [*_cim(shell), *_services(shell), *_others(shell)]


def _cim(shell: Shell) -> list[Command]:
    machine = shell.machine

    def local(seconds: float) -> DateTime:
        return DateTime.from_python(datetime.fromtimestamp(seconds, UTC)).to_local()

    def version(name: str) -> str:
        found = machine.system.registry.value(CURRENT_VERSION, name)
        return str(found.data) if found else ""

    def operating_system() -> Iterator[dict[str, object]]:
        build = version("CurrentBuildNumber")
        name = "Windows 11" if int(build) >= 22000 else "Windows 10"
        chinese = machine.settings.locale == "zh-CN"
        yield {
            "Caption": f"Microsoft {name} {'专业版' if chinese else 'Pro'}",
            "Version": f"10.0.{build}",
            "BuildNumber": build,
            "OSArchitecture": "64 位" if chinese else "64-bit",
            "ProductType": UInt32(1),
            "OSLanguage": UInt32(2052 if chinese else 1033),
            "MUILanguages": [machine.settings.locale],
            "CSName": machine.settings.computer,
            "LastBootUpTime": local(machine.host.boot_time()),
            "LocalDateTime": local(machine.host.now()),
            "TotalVisibleMemorySize": UInt64(machine.host.memory() // 1024),
            "WindowsDirectory": r"C:\Windows",
            "SystemDirectory": r"C:\Windows\system32",
            "SystemDrive": "C:",
        }

    def computer_system() -> Iterator[dict[str, object]]:
        yield {
            "Name": machine.settings.computer,
            "Domain": "WORKGROUP",
            "PartOfDomain": False,
            "Manufacturer": "Micro-Star International Co., Ltd.",
            "Model": "MS-7D25",
            "TotalPhysicalMemory": UInt64(machine.host.memory()),
            "NumberOfLogicalProcessors": UInt32(machine.host.processors()),
            "SystemType": "x64-based PC",
            "UserName": None,
        }

    def processes() -> Iterator[dict[str, object]]:
        everything = ADMINISTRATORS in shell.session.identity.groups
        for process in machine.processes.all():
            seen = everything or process.sid == shell.session.identity.sid
            yield {
                "Name": process.name,
                "Caption": process.name,
                "ProcessId": UInt32(process.pid),
                "ParentProcessId": UInt32(process.parent),
                "ExecutablePath": (process.path or None) if seen else None,
                "CommandLine": (process.command_line or None) if seen else None,
                "CreationDate": local(process.started),
                "SessionId": UInt32(process.session),
                "WorkingSetSize": UInt64(process.resident),
                "Handle": str(process.pid),
            }

    def disks() -> Iterator[dict[str, object]]:
        for volume in machine.volumes.all():
            size, free = volume.space() if volume.ready else (0, 0)
            yield {
                "DeviceID": f"{volume.letter}:",
                "Caption": f"{volume.letter}:",
                "Name": f"{volume.letter}:",
                "DriveType": UInt32(DRIVE_TYPES[volume.kind]),
                "FileSystem": volume.file_system or None,
                "Size": UInt64(size) if volume.ready else None,
                "FreeSpace": UInt64(free) if volume.ready else None,
                "VolumeName": volume.label if volume.ready else None,
                "ProviderName": None,
            }

    def adapters() -> Iterator[dict[str, object]]:
        settings = machine.settings
        for index, adapter in enumerate(settings.adapters if settings.nvidia else ()):
            yield {
                "Name": adapter.name,
                "Caption": adapter.name,
                "DeviceID": f"VideoController{index + 1}",
                # 32 bits: nothing above 4 GiB can be said here.
                "AdapterRAM": UInt32(min(adapter.memory_bytes, 2**32 - 2**20)),
                "DriverVersion": adapter.driver_version,
                "AdapterCompatibility": adapter.vendor,
                "Status": "OK",
            }
        if not settings.nvidia or not settings.adapters:
            yield {
                "Name": "Microsoft Basic Display Adapter",
                "Caption": "Microsoft Basic Display Adapter",
                "DeviceID": "VideoController1",
                "AdapterRAM": None,
                "DriverVersion": "10.0.22621.1",
                "AdapterCompatibility": "(Standard display types)",
                "Status": "OK",
            }

    def processors() -> Iterator[dict[str, object]]:
        count = machine.host.processors()
        yield {
            "Name": "12th Gen Intel(R) Core(TM) i5-12400F",
            "DeviceID": "CPU0",
            "Architecture": UInt16(9),
            "NumberOfCores": UInt32(count),
            "NumberOfLogicalProcessors": UInt32(count),
        }

    def services() -> Iterator[dict[str, object]]:
        modes = {"Automatic": "Auto"}
        for service in machine.services.all():
            yield {
                "Name": service.name,
                "DisplayName": service.display_name,
                "State": service.status,
                "StartMode": modes.get(service.startup, service.startup),
                "PathName": service.path,
                "StartName": "LocalSystem",
            }

    classes: dict[str, tuple[str, Callable[[], Iterator[dict[str, object]]]]] = {
        name.lower(): (name, read)
        for name, read in (
            ("Win32_OperatingSystem", operating_system), ("Win32_ComputerSystem", computer_system),
            ("Win32_Process", processes), ("Win32_LogicalDisk", disks), ("Win32_VideoController", adapters),
            ("Win32_Processor", processors), ("Win32_Service", services),
        )
    }  # fmt: skip

    @cmdlet(
        "Get-CimInstance", Parameter("ClassName", position=0), Parameter("Namespace"), Parameter("Filter"),
        Parameter("Property", "string[]"), Parameter("Query"), Parameter("OperationTimeoutSec", "uint32"),
        error_class="Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand",
    )  # fmt: skip
    def get_cim_instance(call: Call) -> Iterator[object]:
        if call.has("Query") or not call.has("ClassName"):
            raise NotModelled("Get-CimInstance without -ClassName")
        if call.get("Namespace", CIMV2).lower().replace("\\", "/") != CIMV2:
            raise NotModelled(f"the CIM namespace {call.get('Namespace')}")
        if call.get("ClassName").lower() not in classes:
            raise NotModelled(f"the CIM class {call.get('ClassName')}")
        name, read = classes[call.get("ClassName").lower()]
        chooses = condition(call.get("Filter")) if call.has("Filter") else None
        for properties in read():
            lower = {key.lower(): value for key, value in properties.items()}
            if chooses and not chooses(lower):
                continue
            made = cim(name, CIMV2, properties)
            made["CimClass"] = f"{CIMV2}:{name}"
            yield made

    @cmdlet("Get-Volume", Parameter("DriveLetter", "char[]", position=0), error_class="Get-Volume")
    def get_volume(call: Call) -> Iterator[object]:
        wanted = [str(letter).upper() for letter in call.get("DriveLetter", ())]
        found = []
        for volume in machine.volumes.all():
            if wanted and volume.letter not in wanted:
                continue
            found.append(volume.letter)
            size, free = volume.space() if volume.ready else (0, 0)
            yield cim("MSFT_Volume", "Root/Microsoft/Windows/Storage", {
                "DriveLetter": Char(volume.letter),
                "DriveType": {"CDRom": "CD-ROM"}.get(volume.kind, volume.kind),
                "FileSystem": volume.file_system,
                "FileSystemType": volume.file_system or "Unknown",
                "FileSystemLabel": volume.label,
                "HealthStatus": "Healthy",
                "OperationalStatus": "OK",
                "Size": UInt64(size),
                "SizeRemaining": UInt64(free),
            })  # fmt: skip
        for letter in wanted:
            if letter not in found:
                call.write_error(nothing_found("MSFT_Volume", "DriveLetter", letter))

    return [get_cim_instance, get_volume]


def condition(text: str) -> Callable[[dict[str, object]], bool]:
    """What follows WHERE in WQL, as a test of an object's properties; all ANDs or all ORs, without parentheses."""
    tests: list[Callable[[dict[str, object]], bool]] = []
    joins: set[str] = set()
    position = 0
    while True:
        match = CONDITION.match(text, position)
        if not match:
            raise _invalid_query()
        tests.append(_test(match))
        position = match.end()
        if position >= len(text):
            break
        join = JOIN.match(text, position)
        if not join:
            raise NotModelled(f"the WQL condition {text!r}")
        joins.add(join[1].lower())
        position = join.end()
    if len(joins) > 1:
        raise NotModelled(f"the WQL condition {text!r}")
    every = all if joins != {"or"} else any
    return lambda properties: every(test(properties) for test in tests)


def _test(match: re.Match[str]) -> Callable[[dict[str, object]], bool]:
    name, operator, word = match[1].lower(), match[2].lower(), match[5]
    quoted = match[3] if match[3] is not None else match[4]
    text = None if quoted is None else re.sub(r"\\(.)", r"\1", quoted)

    def run(properties: dict[str, object]) -> bool:
        if name not in properties:
            raise _invalid_query()
        value = properties[name]
        if operator == "like":
            pattern = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in text or "")
            return value is not None and bool(re.fullmatch(pattern, str(value), re.I | re.S))
        if word is not None and word.lower() == "null":
            return (value is None) == (operator == "=")
        if value is None:
            return False
        left: str | int
        right: str | int
        if isinstance(value, str):
            left, right = value.lower(), (text if text is not None else word or "").lower()
        else:
            given = text if text is not None else word or ""
            left, right = int(value) if isinstance(value, int) else int(str(value)), _number(given)
        return COMPARISONS[operator](left, right)

    return run


def _invalid_query() -> PowerShellError:
    return PowerShellError(
        "Invalid query ", "HRESULT 0x80041017", "InvalidArgument",
        exception="Microsoft.Management.Infrastructure.CimException",
    )  # fmt: skip


def _number(text: str) -> int:
    return {"true": 1, "false": 0}[text.lower()] if text.lower() in ("true", "false") else int(text)


def _services(shell: Shell) -> list[Command]:
    services = shell.machine.services

    def shown(service: Service) -> PSObject:
        kind = ("System.ServiceProcess.ServiceController", "System.ComponentModel.Component")
        return PSObject({
            "Name": service.name,
            "ServiceName": service.name,
            "DisplayName": service.display_name,
            "Status": enumerated(enums.SERVICE_STATUS, service.status),
            "StartType": enumerated(enums.START_MODE, service.startup),
            "CanStop": service.status == "Running",
            "MachineName": ".",
        }, kind, text=service.name)  # fmt: skip

    def found(call: Call, record: dict[str, Any]) -> Iterator[Service]:
        objects = record.get("InputObject")
        if objects is not None:
            for made in objects if isinstance(objects, list) else [objects]:
                yield services.get(str(made["Name"]))
            return
        for key, read in (
            ("Name", lambda service: service.name),
            ("DisplayName", lambda service: service.display_name),
        ):
            names = record.get(key)
            for name in [names] if isinstance(names, str) else names or ():
                hits = [service for service in services.all() if wildcard(name).match(read(service))]
                if not hits and not has_wildcard(name):
                    label = "service name" if key == "Name" else "display name"
                    call.write_error(
                        f"Cannot find any service with {label} '{name}'.",
                        "NoServiceFoundForGivenName" if key == "Name" else "NoServiceFoundForGivenDisplayName",
                        "ObjectNotFound", name, "Microsoft.PowerShell.Commands.ServiceCommandException",
                    )  # fmt: skip
                yield from hits

    name = Parameter("Name", "string[]", position=0, by_name=True, aliases=("ServiceName",))
    display = Parameter("DisplayName", "string[]")
    objects = Parameter("InputObject", "object[]", from_pipeline=True)
    pass_through = Parameter("PassThru", "switch")

    def administrator(call: Call, service: Service, verb: str) -> bool:
        if ADMINISTRATORS in shell.session.identity.groups:
            return True
        call.write_error(
            f"Service '{service.display_name} ({service.name})' cannot be {verb} due to the following error: Cannot "
            f"open {service.name} service on computer '.'.",
            "CouldNotSetService", "PermissionDenied", service.name,
            "Microsoft.PowerShell.Commands.ServiceCommandException",
        )  # fmt: skip
        return False

    @cmdlet("Get-Service", name, display, objects)
    def get_service(call: Call) -> Iterator[object]:
        for record in call.records():
            if not any(record.get(key) for key in ("Name", "DisplayName", "InputObject")):
                yield from (shown(service) for service in services.all())
            else:
                yield from (shown(service) for service in found(call, record))

    def switched(call: Call, status: str, verb: str) -> Iterator[object]:
        for record in call.records():
            for service in list(found(call, record)):
                if call.what_if or not administrator(call, service, verb):
                    continue
                if status == "Running" and service.startup == "Disabled":
                    call.write_error(
                        f"Service '{service.display_name} ({service.name})' cannot be started due to the following "
                        f"error: Cannot start service {service.name} on computer '.'.",
                        "CouldNotStartService", "OpenError", service.name,
                        "Microsoft.PowerShell.Commands.ServiceCommandException",
                    )  # fmt: skip
                    continue
                changed = services.change(service.name, status=status)
                if call.switch("PassThru"):
                    yield shown(changed)

    @cmdlet("Start-Service", name, display, objects, pass_through, should_process=True)
    def start_service(call: Call) -> Iterator[object]:
        yield from switched(call, "Running", "started")

    @cmdlet("Stop-Service", name, display, objects, Parameter("Force", "switch"), pass_through, should_process=True)
    def stop_service(call: Call) -> Iterator[object]:
        yield from switched(call, "Stopped", "stopped")

    @cmdlet("Restart-Service", name, display, objects, Parameter("Force", "switch"), pass_through, should_process=True)
    def restart_service(call: Call) -> Iterator[object]:
        yield from switched(call, "Running", "started")

    @cmdlet(
        "Set-Service", Parameter("Name", position=0, mandatory=True, by_name=True, aliases=("ServiceName", "SN")),
        Parameter("StartupType", enums.START_MODE.name, aliases=("StartMode", "SM", "ST")),
        Parameter("Status", choices=("Running", "Stopped", "Paused")), pass_through, should_process=True,
    )  # fmt: skip
    def set_service(call: Call) -> Iterator[object]:
        for record in call.records():
            try:
                service = services.get(str(record["Name"]))
            except Win32Error as error:
                if error.code != SERVICE_DOES_NOT_EXIST:
                    raise
                call.write_error(
                    f"Service {record['Name']} was not found on computer '.'.", "InvalidOperationException",
                    "ObjectNotFound", ".", "System.InvalidOperationException",
                )  # fmt: skip
                continue
            if call.what_if or not administrator(call, service, "configured"):
                continue
            changes = {}
            if call.has("StartupType"):
                changes["startup"] = str(call.get("StartupType"))
            if call.has("Status"):
                changes["status"] = str(call.get("Status"))
            changed = services.change(service.name, **changes)
            if call.switch("PassThru"):
                yield shown(changed)

    return [get_service, start_service, stop_service, restart_service, set_service]


def _others(shell: Shell) -> list[Command]:
    machine = shell.machine

    @cmdlet(
        "Get-WindowsCapability", Parameter("Online", "switch"), Parameter("Name"),
        error_class="Microsoft.Dism.Commands.GetWindowsCapabilityCommand",
    )  # fmt: skip
    def get_capability(call: Call) -> Iterator[object]:
        _elevated("The requested operation requires elevation.", "Microsoft.Dism.Commands.GetWindowsCapabilityCommand")
        _online(call)
        pattern = wildcard(call.get("Name", "*"))
        for name, state in sorted(machine.services.capabilities().items()):
            if pattern.match(name):
                yield PSObject({"Name": name, "State": state}, "Microsoft.Dism.Commands.BasicCapabilityObject")

    @cmdlet(
        "Add-WindowsCapability", Parameter("Online", "switch"), Parameter("Name", mandatory=True, by_name=True),
        error_class="Microsoft.Dism.Commands.AddWindowsCapabilityCommand",
    )  # fmt: skip
    def add_capability(call: Call) -> Iterator[object]:
        _elevated("The requested operation requires elevation.", "Microsoft.Dism.Commands.AddWindowsCapabilityCommand")
        _online(call)
        for record in call.records():
            machine.services.add_capability(str(record["Name"]))
            yield PSObject({"Path": "", "Online": True, "RestartNeeded": False}, "Microsoft.Dism.Commands.ImageObject")

    def _online(call: Call) -> None:
        if not call.switch("Online"):
            raise NotModelled(f"{call.command.name} without -Online")

    def _elevated(text: str, kind: str) -> None:
        if ADMINISTRATORS not in shell.session.identity.groups:
            raise PowerShellError(text, kind, "NotSpecified", exception="System.Runtime.InteropServices.COMException")

    def culture() -> PSObject:
        locale = machine.settings.locale
        names = {"zh-CN": "Chinese (Simplified, China)", "en-US": "English (United States)"}
        return PSObject(
            {
                "LCID": 2052 if locale == "zh-CN" else 1033,
                "Name": locale,
                "DisplayName": names[locale],
                "EnglishName": names[locale],
                "TwoLetterISOLanguageName": locale[:2],
            },
            "System.Globalization.CultureInfo",
            text=locale,
        )

    @cmdlet("Get-Culture")
    def get_culture(call: Call) -> Iterator[object]:
        yield culture()

    @cmdlet("Get-UICulture")
    def get_ui_culture(call: Call) -> Iterator[object]:
        yield culture()

    @cmdlet("Restart-Computer", Parameter("Force", "switch"), should_process=True)
    def restart_computer(call: Call) -> Iterator[object]:
        if not call.what_if:
            if ADMINISTRATORS not in shell.session.identity.groups:
                call.write_error(
                    f"Failed to restart the computer {machine.settings.computer} with the following error message: "
                    "Privilege not held.",
                    "RestartcomputerFailed", "OperationStopped", machine.settings.computer,
                    "System.InvalidOperationException",
                )  # fmt: skip
            else:
                machine.host.reboot()
        return iter(())

    @cmdlet("Get-Acl", PATH, LITERAL_PATH)
    def get_acl(call: Call) -> Iterator[object]:
        for record in call.records():
            if not record.get("Path") and not record.get("LiteralPath"):
                record = {"Path": ["."]}
            for found in chosen(shell, call, record):
                if not isinstance(found, FileTarget):
                    raise NotModelled("Get-Acl outside of the file system")
                entry = shell.session.files.entry(found.path)
                if not machine.volumes.get(entry.path.drive).keeps_acls:
                    raise NotModelled("Get-Acl on a drive without access control lists")
                shell.session.files.access(entry.path, acl.READ_CONTROL)
                listed = machine.acls.get(entry.path, entry.is_directory)
                owner = machine.accounts.name_of(listed.owner) or listed.owner
                kind = "DirectorySecurity" if entry.is_directory else "FileSecurity"
                yield PSObject({
                    "Path": f"Microsoft.PowerShell.Core\\FileSystem::{entry.path}",
                    "Owner": owner,
                    "Group": owner,
                    "Access": [rule_object(one, machine.accounts) for one in listed.entries],
                    "Sddl": sddl(listed),
                    "AreAccessRulesProtected": listed.protected,
                    "AccessToString": "\n".join(
                        f"{machine.accounts.name_of(one.sid) or one.sid} {'Allow' if one.allow else 'Deny'}"
                        for one in listed.entries
                    ),
                }, f"System.Security.AccessControl.{kind}")  # fmt: skip

    @cmdlet("Get-ExecutionPolicy", Parameter("Scope", position=0), Parameter("List", "switch"))
    def get_execution_policy(call: Call) -> Iterator[object]:
        if call.switch("List"):
            raise NotModelled("Get-ExecutionPolicy -List")
        scope = str(call.get("Scope", "")).lower()
        policy = machine.system.registry
        key = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\PowerShell"
        found = policy.value(key, "ExecutionPolicy") if policy.exists(key) else None
        by_policy = str(found.data) if found else "Undefined"
        if scope == "machinepolicy":
            yield by_policy
        elif scope in ("userpolicy", "currentuser", "localmachine"):
            yield "Undefined"
        else:
            # The command line's, which only a policy overrides.
            yield by_policy if found else "Bypass"

    @cmdlet("Unblock-File", PATH, LITERAL_PATH, should_process=True)
    def unblock_file(call: Call) -> Iterator[object]:
        for record in call.records():
            for found in chosen(shell, call, record):
                if not isinstance(found, FileTarget):
                    raise NotModelled("Unblock-File outside of the file system")
        return iter(())

    return [
        get_capability, add_capability, get_culture, get_ui_culture, restart_computer, get_acl, get_execution_policy,
        unblock_file,
    ]  # fmt: skip
