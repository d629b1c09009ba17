"""The registry of a new machine, as far as scripts ask for it: Windows 11 Pro 23H2 (build 22631).

Sources: Microsoft's "Windows 11 release information" (builds), "Environment variables" and the device class GUIDs of
"System-defined device setup classes available to vendors"; values as on the machines that public setup reports show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .identity import LOCAL_SERVICE, NETWORK_SERVICE, SYSTEM, Accounts
from .registry import Kind, Value, empty, put

CURRENT_VERSION = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
PROFILE_LIST = rf"{CURRENT_VERSION}\ProfileList"
ENVIRONMENT = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
DISPLAY_CLASS = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
FIREWALL_POLICY = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy"
FIREWALL_GROUP_POLICY = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\WindowsFirewall"
OPENSSH = r"HKEY_LOCAL_MACHINE\SOFTWARE\OpenSSH"

SYSTEM_PATH = ";".join(
    (
        r"%SystemRoot%\system32",
        r"%SystemRoot%",
        r"%SystemRoot%\System32\Wbem",
        "%SYSTEMROOT%\\System32\\WindowsPowerShell\\v1.0\\",
        "%SYSTEMROOT%\\System32\\OpenSSH\\",
    )
)

MODULE_PATH = r"%ProgramFiles%\WindowsPowerShell\Modules;%SystemRoot%\system32\WindowsPowerShell\v1.0\Modules"


@dataclass(frozen=True)
class Adapter:
    """A display adapter as its driver describes it."""

    name: str
    memory_bytes: int
    vendor: str = "NVIDIA"
    driver_version: str = "32.0.15.6094"
    device: str = r"pci\ven_10de&dev_2484"


def new_registry(accounts: Accounts, adapters: tuple[Adapter, ...], processors: int, locale: str) -> dict[str, Any]:
    """The document of a new machine's registry."""
    document: dict[str, Any] = {"HKEY_LOCAL_MACHINE": empty(), "HKEY_USERS": empty()}
    put(document, CURRENT_VERSION, [
        _text("ProductName", "Windows 10 Pro"),  # Windows 11 still says so here
        _text("EditionID", "Professional"),
        _text("InstallationType", "Client"),
        _text("DisplayVersion", "23H2"),
        _text("ReleaseId", "2009"),
        _text("CurrentVersion", "6.3"),
        _text("CurrentBuild", "22631"),
        _text("CurrentBuildNumber", "22631"),
        _number("UBR", 4317),
        _number("CurrentMajorVersionNumber", 10),
        _number("CurrentMinorVersionNumber", 0),
        _text("SystemRoot", r"C:\Windows"),
    ])  # fmt: skip
    put(document, ENVIRONMENT, [
        _expanded("ComSpec", r"%SystemRoot%\system32\cmd.exe"),
        _expanded("DriverData", r"C:\Windows\System32\Drivers\DriverData"),
        _text("NUMBER_OF_PROCESSORS", str(processors)),
        _text("OS", "Windows_NT"),
        _expanded("Path", SYSTEM_PATH),
        _text("PATHEXT", ".COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC"),
        _text("PROCESSOR_ARCHITECTURE", "AMD64"),
        _text("PROCESSOR_IDENTIFIER", "Intel64 Family 6 Model 151 Stepping 2, GenuineIntel"),
        _text("PROCESSOR_LEVEL", "6"),
        _text("PROCESSOR_REVISION", "9702"),
        _expanded("PSModulePath", MODULE_PATH),
        _expanded("TEMP", r"%SystemRoot%\TEMP"),
        _expanded("TMP", r"%SystemRoot%\TEMP"),
        _text("USERNAME", "SYSTEM"),
        _expanded("windir", "%SystemRoot%"),
    ])  # fmt: skip
    for index, adapter in enumerate(
        adapters or (Adapter("Microsoft Basic Display Adapter", 0, "Microsoft", "10.0.22621.1", r"root\basicdisplay"),)
    ):
        values = [
            _text("DriverDesc", adapter.name),
            _text("ProviderName", adapter.vendor),
            _text("DriverVersion", adapter.driver_version),
            _text("MatchingDeviceId", adapter.device),
        ]
        if adapter.memory_bytes:
            # What WMI's AdapterRAM shows, of 32 bits, and the whole number.
            low = min(adapter.memory_bytes, 2**32 - 2**20).to_bytes(4, "little")
            values += [
                Value("HardwareInformation.MemorySize", Kind.Binary, low),
                Value("HardwareInformation.qwMemorySize", Kind.QWord, adapter.memory_bytes),
                _text("HardwareInformation.AdapterString", adapter.name),
            ]
        put(document, rf"{DISPLAY_CLASS}\{index:04}", values)
    put(document, rf"{DISPLAY_CLASS}\Properties")
    for profile in ("DomainProfile", "StandardProfile", "PublicProfile"):
        put(
            document,
            rf"{FIREWALL_POLICY}\{profile}",
            [_number("EnableFirewall", 1), _number("DisableNotifications", 0)],
        )
    put(document, rf"{FIREWALL_POLICY}\FirewallRules")
    put(document, OPENSSH)
    put(document, r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows")
    put(document, r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion", [
        _text("ProgramFilesDir", r"C:\Program Files"),
        _text("ProgramFilesDir (x86)", r"C:\Program Files (x86)"),
    ])  # fmt: skip
    put(document, r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall")
    put(document, r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\FileSystem", [_number("LongPathsEnabled", 0)])
    put(document, r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Power", [
        _number("HiberbootEnabled", 0),
    ])  # fmt: skip
    code_page = "936" if locale == "zh-CN" else "437"
    ansi = "936" if locale == "zh-CN" else "1252"
    put(document, r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Nls\CodePage", [
        _text("ACP", ansi), _text("OEMCP", code_page),
    ])  # fmt: skip
    profiles = {
        SYSTEM: r"%systemroot%\system32\config\systemprofile",
        LOCAL_SERVICE: r"%systemroot%\ServiceProfiles\LocalService",
        NETWORK_SERVICE: r"%systemroot%\ServiceProfiles\NetworkService",
        accounts.user_sid: rf"C:\Users\{accounts.user_name}",
    }
    for sid, path in profiles.items():
        put(document, rf"{PROFILE_LIST}\{sid}", [_expanded("ProfileImagePath", path)])
        home = rf"HKEY_USERS\{sid}"
        put(document, rf"{home}\Software\Microsoft\Windows\CurrentVersion\Uninstall")
        put(document, rf"{home}\Software\Microsoft\Windows\CurrentVersion\Run")
        values = [
            _expanded("TEMP", r"%USERPROFILE%\AppData\Local\Temp"),
            _expanded("TMP", r"%USERPROFILE%\AppData\Local\Temp"),
        ]
        if sid == accounts.user_sid:
            values.append(_expanded("Path", r"%USERPROFILE%\AppData\Local\Microsoft\WindowsApps;"))
        put(document, rf"{home}\Environment", [] if sid == SYSTEM else values)
    return document


def _text(name: str, data: str) -> Value:
    return Value(name, Kind.String, data)


def _expanded(name: str, data: str) -> Value:
    return Value(name, Kind.ExpandString, data)


def _number(name: str, data: int) -> Value:
    return Value(name, Kind.DWord, data)
