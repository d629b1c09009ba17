"""Enumerations that the machine's cmdlets and types take and give."""

from __future__ import annotations

from lab.windows.machine.registry import Kind
from lab.windows.machine.services import START_MODES, STATUSES
from lab.windows.machine.tasks import State
from lab.windows.machine.volumes import DRIVE_TYPES
from lab.windows.powershell import EnumType

_FIREWALL = "Microsoft.PowerShell.Cmdletization.GeneratedTypes.NetSecurity"
_TASKS = "Microsoft.PowerShell.Cmdletization.GeneratedTypes.ScheduledTask"
_TCP = "Microsoft.PowerShell.Cmdletization.GeneratedTypes.NetTCPConnection"
_ADDRESS = "Microsoft.PowerShell.Cmdletization.GeneratedTypes.NetIPAddress"
_ACL = "System.Security.AccessControl"

FILE_MODE = EnumType(
    "System.IO.FileMode",
    {"CreateNew": 1, "Create": 2, "Open": 3, "OpenOrCreate": 4, "Truncate": 5, "Append": 6},
)
FILE_ACCESS = EnumType("System.IO.FileAccess", {"Read": 1, "Write": 2, "ReadWrite": 3}, flags=True)
FILE_SHARE = EnumType(
    "System.IO.FileShare",
    {"None": 0, "Read": 1, "Write": 2, "ReadWrite": 3, "Delete": 4, "Inheritable": 16},
    flags=True,
)
SEEK_ORIGIN = EnumType("System.IO.SeekOrigin", {"Begin": 0, "Current": 1, "End": 2})
SEARCH_OPTION = EnumType("System.IO.SearchOption", {"TopDirectoryOnly": 0, "AllDirectories": 1})
FILE_ATTRIBUTES = EnumType(
    "System.IO.FileAttributes",
    {"ReadOnly": 1, "Hidden": 2, "System": 4, "Directory": 16, "Archive": 32, "Normal": 128, "ReparsePoint": 1024},
    flags=True,
)
DRIVE_TYPE = EnumType("System.IO.DriveType", DRIVE_TYPES)
VALUE_KIND = EnumType(
    "Microsoft.Win32.RegistryValueKind", {"Unknown": 0, "None": -1, **{kind.name: kind.value for kind in Kind}}
)
VALUE_OPTIONS = EnumType(
    "Microsoft.Win32.RegistryValueOptions", {"None": 0, "DoNotExpandEnvironmentNames": 1}, flags=True
)
HIVE = EnumType(
    "Microsoft.Win32.RegistryHive",
    {"ClassesRoot": -2147483648, "CurrentUser": -2147483647, "LocalMachine": -2147483646, "Users": -2147483645},
)
VIEW = EnumType("Microsoft.Win32.RegistryView", {"Default": 0, "Registry64": 256, "Registry32": 512})
BUILT_IN_ROLE = EnumType(
    "System.Security.Principal.WindowsBuiltInRole", {"Administrator": 544, "User": 545, "Guest": 546, "PowerUser": 547}
)
WELL_KNOWN_SID = EnumType(
    "System.Security.Principal.WellKnownSidType",
    {"WorldSid": 1, "CreatorOwnerSid": 3, "AuthenticatedUserSid": 17, "LocalSystemSid": 22, "LocalServiceSid": 23,
     "NetworkServiceSid": 24, "BuiltinAdministratorsSid": 26, "BuiltinUsersSid": 27},
)  # fmt: skip
TEST_PATH_TYPE = EnumType("Microsoft.PowerShell.Commands.TestPathType", {"Any": 0, "Container": 1, "Leaf": 2})
ENCODING = EnumType(
    "Microsoft.PowerShell.Commands.FileSystemCmdletProviderEncoding",
    {"Unknown": 0, "String": 1, "Unicode": 2, "Byte": 3, "BigEndianUnicode": 4, "UTF8": 5, "UTF7": 6, "UTF32": 7,
     "Ascii": 8, "Default": 9, "Oem": 10, "BigEndianUTF32": 11},
)  # fmt: skip
WINDOW_STYLE = EnumType(
    "System.Diagnostics.ProcessWindowStyle", {"Normal": 0, "Hidden": 1, "Minimized": 2, "Maximized": 3}
)
PRIORITY_CLASS = EnumType(
    "System.Diagnostics.ProcessPriorityClass",
    {"Normal": 32, "Idle": 64, "High": 128, "RealTime": 256, "BelowNormal": 16384, "AboveNormal": 32768},
)
SERVICE_STATUS = EnumType("System.ServiceProcess.ServiceControllerStatus", STATUSES)
START_MODE = EnumType("System.ServiceProcess.ServiceStartMode", START_MODES)

ENABLED = EnumType(f"{_FIREWALL}.Enabled", {"True": 1, "False": 2})
DIRECTION = EnumType(f"{_FIREWALL}.Direction", {"Inbound": 1, "Outbound": 2})
ACTION = EnumType(f"{_FIREWALL}.Action", {"NotConfigured": 0, "Allow": 2, "Block": 4})
PROFILE = EnumType(
    f"{_FIREWALL}.Profile", {"Any": 0, "Domain": 1, "Private": 2, "Public": 4, "NotApplicable": 65535}, flags=True
)
EDGE = EnumType(f"{_FIREWALL}.EdgeTraversal", {"Block": 0, "Allow": 1, "DeferToUser": 2, "DeferToApp": 3})
GPO_BOOLEAN = EnumType(f"{_FIREWALL}.GpoBoolean", {"False": 0, "True": 1, "NotConfigured": 2})
PRIMARY_STATUS = EnumType(f"{_FIREWALL}.PrimaryStatus", {"Unknown": 0, "OK": 1, "Degraded": 2, "Error": 3})
STORE_TYPE = EnumType(
    f"{_FIREWALL}.PolicyStoreType",
    {"None": 0, "Local": 1, "GroupPolicy": 2, "Dynamic": 3, "Generated": 4, "Hardcoded": 5},
)
DYNAMIC_TARGET = EnumType(f"{_FIREWALL}.DynamicTransport", {"Any": 0, "ProximityApps": 1, "ProximitySharing": 2})

TASK_STATE = EnumType(f"{_TASKS}.StateEnum", {state.name: state.value for state in State})
RUN_LEVEL = EnumType(f"{_TASKS}.RunLevelEnum", {"Limited": 0, "Highest": 1})
LOGON_TYPE = EnumType(
    f"{_TASKS}.LogonTypeEnum",
    {"None": 0, "Password": 1, "S4U": 2, "Interactive": 3, "Group": 4, "ServiceAccount": 5, "InteractiveOrPassword": 6},
)
INSTANCES = EnumType(f"{_TASKS}.MultipleInstancesEnum", {"Parallel": 0, "Queue": 1, "IgnoreNew": 2})
COMPATIBILITY = EnumType(f"{_TASKS}.CompatibilityEnum", {"At": 0, "V1": 1, "Vista": 2, "Win7": 3, "Win8": 4})

TCP_STATE = EnumType(
    f"{_TCP}.State",
    {"Closed": 1, "Listen": 2, "SynSent": 3, "SynReceived": 4, "Established": 5, "FinWait1": 6, "FinWait2": 7,
     "CloseWait": 8, "Closing": 9, "LastAck": 10, "TimeWait": 11, "DeleteTCB": 12, "Bound": 100},
)  # fmt: skip
ADDRESS_FAMILY = EnumType(f"{_ADDRESS}.AddressFamily", {"IPv4": 2, "IPv6": 23})

ACCESS_TYPE = EnumType(f"{_ACL}.AccessControlType", {"Allow": 0, "Deny": 1})
INHERITANCE = EnumType(f"{_ACL}.InheritanceFlags", {"None": 0, "ContainerInherit": 1, "ObjectInherit": 2}, flags=True)
PROPAGATION = EnumType(f"{_ACL}.PropagationFlags", {"None": 0, "NoPropagateInherit": 1, "InheritOnly": 2}, flags=True)
RIGHTS = EnumType(
    f"{_ACL}.FileSystemRights",
    {"FullControl": 0x1F01FF, "Modify": 0x301BF, "ReadAndExecute": 0x200A9, "Read": 0x20089, "Write": 0x116,
     "Delete": 0x10000, "Synchronize": 0x100000, "CreateDirectories": 4, "CreateFiles": 2},
    flags=True,
)  # fmt: skip

ALL = tuple(value for value in list(globals().values()) if isinstance(value, EnumType))
