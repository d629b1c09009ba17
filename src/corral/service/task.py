"""The scheduled task that runs Ollama on Windows, its files and variables, and what must change.

Nobody has to log in for it: the task starts at boot as SYSTEM or LOCAL SERVICE and runs a script of corral's, which
starts the release that is in use with the machine's environment as it is then, and notes what it has started. Whether a
restart is needed is read off that note and the running process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal
from xml.etree import ElementTree

from corral import layout_windows as layout
from corral.changes import Change
from corral.errors import CorralError
from corral.probe.windows import WindowsState
from corral.scripts import Script
from corral.service.wanted import Wanted, environment_differences

MARK = "# Made by corral"
NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
#: Access rights that let others than SYSTEM, administrators and the owner read a file; SDDL's words for everybody,
#: users and those who are logged in (learn.microsoft.com, "SID Strings").
_OPEN = re.compile(r"\(A;[^;]*;[^;]*;[^;]*;[^;]*;(WD|BU|AU|IU|AN|BG|S-1-1-0|S-1-5-32-545|S-1-5-11)\)")
#: Their owner may change them whatever they say (learn.microsoft.com, "Owner of a New Object").
_OWNED_BY_OTHERS = re.compile(r"O:(?!BA|SY|S-1-5-32-544|S-1-5-18)")
_LOCAL_SERVICE_MAY = re.compile(r"\(A;[^;]*;[^;]*;[^;]*;[^;]*;(LS|S-1-5-19)\)")

#: What the task must have, by the path of its element; what is not here is left to Windows. Source:
#: learn.microsoft.com, "Task Scheduler Schema Elements". ExecutionTimeLimit by default ends a task after 72 hours;
#: Priority is 7 by default, below normal, also for disks; and a task does not start on batteries.
SETTINGS: Mapping[str, str] = {
    "Triggers/BootTrigger/Enabled": "true",
    "Principals/Principal/RunLevel": "HighestAvailable",
    "Settings/MultipleInstancesPolicy": "IgnoreNew",
    "Settings/DisallowStartIfOnBatteries": "false",
    "Settings/StopIfGoingOnBatteries": "false",
    "Settings/AllowHardTerminate": "true",
    "Settings/StartWhenAvailable": "true",
    "Settings/RunOnlyIfNetworkAvailable": "false",
    "Settings/RunOnlyIfIdle": "false",
    "Settings/Enabled": "true",
    "Settings/ExecutionTimeLimit": "PT0S",
    "Settings/Priority": "4",
}
#: After how long, and how often, Windows tries again to start the task itself; no less than a minute and no more than
#: 255 times (learn.microsoft.com, "restartType Complex Type"). The script that it runs looks after the
#: server: a task whose program has ended, with whatever exit code, has not failed ([MS-TSCH] 2.5.4.2).
RESTARTS = ("PT1M", "255")
#: What an element means that is left out of an exported task (the schema's defaults).
_DEFAULTS = {
    "Triggers/BootTrigger/Enabled": "true",
    "Principals/Principal/RunLevel": "LeastPrivilege",
    "Settings/MultipleInstancesPolicy": "IgnoreNew",
    "Settings/DisallowStartIfOnBatteries": "true",
    "Settings/StopIfGoingOnBatteries": "true",
    "Settings/AllowHardTerminate": "true",
    "Settings/StartWhenAvailable": "false",
    "Settings/RunOnlyIfNetworkAvailable": "false",
    "Settings/RunOnlyIfIdle": "false",
    "Settings/Enabled": "true",
    "Settings/ExecutionTimeLimit": "PT72H",
    "Settings/Priority": "7",
}
#: Windows PowerShell, which is on every machine; 64-bit in a task (learn.microsoft.com, "File System Redirector").
COMMAND = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
ARGUMENTS = f'-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "{layout.START}"'


@dataclass(frozen=True)
class _Meaning:
    """A task as far as it matters. Durations in seconds."""

    values: tuple[tuple[str, str], ...]
    account: str
    command: str
    arguments: str
    restarts: tuple[str, str]
    triggers: tuple[str, ...]


def start_script() -> str:
    """The text of the script that the task runs."""
    return files("corral").joinpath("service/start.ps1").read_text(encoding="utf-8")


def xml(account: str) -> str:
    """The task in Windows' own XML."""
    root = ElementTree.Element("Task", {"version": "1.2", "xmlns": NAMESPACE})
    information = ElementTree.SubElement(root, "RegistrationInfo")
    ElementTree.SubElement(information, "Description").text = "Runs Ollama. Made by corral."
    triggers = ElementTree.SubElement(root, "Triggers")
    principals = ElementTree.SubElement(root, "Principals")
    principal = ElementTree.SubElement(principals, "Principal", {"id": "Author"})
    ElementTree.SubElement(principal, "UserId").text = layout.SIDS[account]
    settings = ElementTree.SubElement(root, "Settings")
    places = {
        "Triggers/BootTrigger": ElementTree.SubElement(triggers, "BootTrigger"),
        "Principals/Principal": principal,
        "Settings": settings,
    }
    for path, value in SETTINGS.items():
        place, _, name = path.rpartition("/")
        ElementTree.SubElement(places[place], name).text = value
    restart = ElementTree.SubElement(settings, "RestartOnFailure")
    interval, count = RESTARTS
    ElementTree.SubElement(restart, "Interval").text = interval
    ElementTree.SubElement(restart, "Count").text = count
    actions = ElementTree.SubElement(root, "Actions", {"Context": "Author"})
    execution = ElementTree.SubElement(actions, "Exec")
    ElementTree.SubElement(execution, "Command").text = COMMAND
    ElementTree.SubElement(execution, "Arguments").text = ARGUMENTS
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _meaning(text: str) -> _Meaning | None:
    """None for a text that is no task. Windows exports defaults or leaves them out, and writes durations anew: it owes
    the definition, not the text that was registered ([MS-TSCH] 3.2.5.4.3)."""
    try:
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml.*?\?>", "", text, flags=re.DOTALL))
    except ElementTree.ParseError:
        return None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]

    def value(path: str, default: str = "") -> str:
        return (root.findtext(path) or default).strip()

    triggers = root.find("Triggers")
    return _Meaning(
        values=tuple((path, _seconds(value(path, default))) for path, default in _DEFAULTS.items()),
        account=value("Principals/Principal/UserId"),
        command=value("Actions/Exec/Command").strip('"').lower(),
        arguments=value("Actions/Exec/Arguments"),
        restarts=(_seconds(value("Settings/RestartOnFailure/Interval")), value("Settings/RestartOnFailure/Count")),
        triggers=tuple(one.tag for one in triggers) if triggers is not None else (),
    )


def _seconds(value: str) -> str:
    """A duration of XML Schema in seconds; any other value as it is."""
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", value)
    if not found or value == "P":
        return value
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return str(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def differs(seen: str, account: str) -> bool:
    """Whether an exported task means something else than what is wanted."""
    return _meaning(seen) != _meaning(xml(account))


def secrets_file(wanted: Wanted) -> str:
    """Lines NAME=VALUE; "" where there are no secrets."""
    return "".join(f"{name}={value}\n" for name, value in wanted.secrets.items())


def check(state: WindowsState) -> None:
    """Refuse what would keep the service from running. Raises CorralError."""
    if state.start and not state.start.startswith(MARK):
        raise CorralError(f"{layout.START} was not written by corral", "Move it away, and run again")
    if state.scripts in ("AllSigned", "Restricted"):
        raise CorralError(
            f"a group policy sets PowerShell's execution policy to {state.scripts}, so that the script that starts "
            "Ollama can't run",
            # A file that was written here is no remote one (learn.microsoft.com, "about_Execution_Policies").
            "Have the policy allow RemoteSigned for this machine (Get-ExecutionPolicy -List shows it)",
        )


def changes(state: WindowsState, wanted: Wanted) -> list[Change]:
    """What must be done so that the service is as wanted, in the order in which it must be done."""
    settings = [*_environment_changes(state, wanted.environment), *_file_changes(state, wanted)]
    changes = [*_directory_changes(state, wanted), *settings]
    reasons = _restart_reasons(state, wanted, changing=bool(settings))
    if differs(state.task.xml, wanted.account):
        changes.append(
            Change(
                f"register the scheduled task {layout.TASK}, which runs Ollama at start-up as {wanted.account}",
                Script(
                    "service/task.ps1",
                    {"TaskPath": layout.TASK_PATH, "TaskName": layout.TASK_NAME, "Xml": xml(wanted.account)},
                ),
            )
        )
        reasons = reasons or ["its task changed"]
    if reasons:
        verb = "restart" if state.server.running else "start"
        changes.append(Change(f"{verb} the task {layout.TASK} ({', '.join(reasons)})", activate(wanted)))
    return changes


def activate(wanted: Wanted) -> Script:
    """Stops the server and starts it anew, and waits until it answers."""
    return _stop(
        "start",
        {
            "Address": wanted.own_address,
            "Port": wanted.port,
            "TimeoutS": wanted.start_timeout_s,
            "Log": layout.LOG,
        },
        limit_s=wanted.start_timeout_s + 120,
    )


def unregister() -> Script:
    """Stops the server, and takes its task away."""
    return _stop("unregister", {"Address": "", "Port": 0, "TimeoutS": 0, "Log": ""}, limit_s=120)


def _stop(then: str, more: Mapping[str, str | int], limit_s: int) -> Script:
    return Script(
        "service/activate.ps1",
        {
            "TaskPath": layout.TASK_PATH,
            "TaskName": layout.TASK_NAME,
            "Programs": layout.PROGRAMS,
            "Then": then,
            **more,
        },
        limit_s=limit_s,
    )


def _directory_changes(state: WindowsState, wanted: Wanted) -> list[Change]:
    """SYSTEM may do everything everywhere; LOCAL SERVICE has to be let in.

    Nobody else may write where the start script reads what it runs, and in what is made below ProgramData all users may
    make files (its rights are passed on; see icacls C:\\ProgramData).
    """
    is_small = wanted.account == "LOCAL SERVICE"
    sid = layout.SIDS[wanted.account] if is_small else ""
    found = []
    for directory, rights in ((layout.STATE, state.state_sddl), (wanted.models_dir, state.models_sddl)):
        closed = directory == layout.STATE
        is_open = closed and rights and (_OPEN.search(rights) or _OWNED_BY_OTHERS.match(rights))
        if not rights or is_open or (is_small and not _LOCAL_SERVICE_MAY.search(rights)):
            let_in = f", for {wanted.account} to write in" if is_small else ""
            found.append(
                Change(
                    f"{'close' if is_open else 'make'} {directory}{let_in}",
                    Script(
                        "service/directory.ps1",
                        {"Directory": directory, "Closed": closed, "Sid": sid, "Registry": layout.REGISTRY},
                    ),
                )
            )
    return found


def _environment_changes(state: WindowsState, wanted: Mapping[str, str]) -> list[Change]:
    """Variables that are declared get their values, those of ours that are not go; people's own stay."""
    wrong = {name: value for name, value in wanted.items() if state.variables.get(name) != value}
    unknown = {name: value for name, value in wanted.items() if name not in state.owned}
    gone = sorted(state.owned - wanted.keys())
    add_path = layout.PROGRAMS.lower() not in map(str.lower, state.path)
    if not wrong and not unknown and not gone and not add_path:
        return []
    told = environment_differences(
        {name: state.variables[name] for name in (*wrong, *gone) if name in state.variables},
        {name: wanted[name] for name in wrong},
    )
    if add_path:
        told.append(f"Path: {layout.PROGRAMS} at its end")
    summary = f"set the machine's environment ({', '.join(told)})" if told else "note which variables are corral's"
    given = wrong | unknown
    return [
        Change(
            summary,
            set_environment(given, gone, layout.PROGRAMS, "add" if add_path else ""),
        )
    ]


def set_environment(
    given: Mapping[str, str], remove: Sequence[str], path_entry: str, path_action: Literal["add", "remove", ""]
) -> Script:
    """Sets the machine's variables, and gives those of ours that are to go their old values back.

    path_entry: a directory of Path, which is added to it or removed, or left as it is.
    """
    return Script(
        "service/environment.ps1",
        {
            "Names": list(given),
            "Values": list(given.values()),
            "Remove": remove,
            "Registry": layout.REGISTRY,
            "PathEntry": path_entry,
            "PathAction": path_action,
        },
    )


def _file_changes(state: WindowsState, wanted: Wanted) -> list[Change]:
    found = []
    if state.start != start_script():
        found.append(Change(f"write {layout.START}", write(layout.START, start_script())))
    secrets = secrets_file(wanted)
    if secrets and (state.secrets != secrets or _OPEN.search(state.secrets_sddl)):
        found.append(Change(f"write {layout.SECRETS} (secret)", write(layout.SECRETS, secrets, secret=True)))
    if not secrets and state.secrets_sddl:
        found.append(Change(f"remove {layout.SECRETS}", remove(layout.SECRETS)))
    return found


def write(path: str, text: str, secret: bool = False) -> Script:
    """Writes a file in one rename."""
    return Script("service/write_file.ps1", {"Path": path, "Text": text, "Secret": secret})


def remove(*paths: str, empty: Sequence[str] = ()) -> Script:
    """Removes files and directories. empty: those that go if nothing is in them, in this order."""
    return Script("service/remove.ps1", {"Paths": list(paths), "Empty": list(empty)})


def _restart_reasons(state: WindowsState, wanted: Wanted, *, changing: bool) -> list[str]:
    """changing: variables or secrets are about to be changed."""
    server, started = state.server, state.started
    if not server.running:
        return [f"it is {state.task.state.lower()}, and no server runs" if state.task.state else "it is new"]
    reasons = []
    if server.executable.lower() != wanted.executable.lower():
        reasons.append(f"it runs {server.executable}")
    if state.task.state != "Running" or started.pid != server.main_pid:
        reasons.append("its server was not started by the task")
    elif changing or started.environment != _machine_environment(state) or started.secrets != secrets_digest(wanted):
        reasons.append("its settings changed")
    return reasons


def _machine_environment(state: WindowsState) -> dict[str, str]:
    """What a server would get that is started now."""
    return {name: value for name, value in state.variables.items() if name != "Path"}


def secrets_digest(wanted: Wanted) -> str:
    """As the start script notes it: SHA-256 in hex of the file, "" without secrets."""
    text = secrets_file(wanted)
    return hashlib.sha256(text.encode()).hexdigest() if text else ""
