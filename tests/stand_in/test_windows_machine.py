"""The machine that stands for a Windows PC in the lab, without root, Wine or PowerShell."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from lab.windows.machine import Machine, NotModelled, Session, Settings, Win32Error, dump, faults, supervisor, taskxml
from lab.windows.machine import errors as win32
from lab.windows.machine.acl import FULL, MODIFY, READ_DATA, READ_EXECUTE, WRITE_DATA, Entry
from lab.windows.machine.environment import Block, Scope
from lab.windows.machine.errors import ComError
from lab.windows.machine.files import Mode
from lab.windows.machine.firewall import ACTIVE, GROUP_POLICY
from lab.windows.machine.handles import Use
from lab.windows.machine.hives import CURRENT_VERSION, DISPLAY_CLASS, FIREWALL_POLICY, Adapter
from lab.windows.machine.host import Address, HostProcess, OpenFile, Socket
from lab.windows.machine.identity import ADMINISTRATORS, LOCAL_SERVICE, SYSTEM, USERS
from lab.windows.machine.launch import Running, arguments_of, find_program, quoted
from lab.windows.machine.paths import full_path
from lab.windows.machine.processes import ACCOUNT, PARENT, START
from lab.windows.machine.registry import Kind, Registry, Value
from lab.windows.machine.rules import Rule, RuleError, addresses, parse, ports
from lab.windows.machine.tasks import State

NOW = 1_760_000_000.0
BOOT = NOW - 3600
WINE = "/usr/lib/wine/wine64"
OLLAMA = r"C:\Program Files\Ollama\0.34.4\ollama.exe"
TASK = """<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.3" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers><BootTrigger><Repetition><Interval>PT60S</Interval></Repetition></BootTrigger></Triggers>
  <Principals><Principal id="Author"><UserId>SYSTEM</UserId><RunLevel>HighestAvailable</RunLevel></Principal>
  </Principals>
  <Settings><MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy><ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <StopIfGoingOnBatteries>true</StopIfGoingOnBatteries><Priority>4</Priority></Settings>
  <Actions Context="Author"><Exec><Command>C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe</Command>
    <Arguments>-File C:\\start.ps1</Arguments></Exec></Actions>
</Task>"""


class FakeHost:
    """A host whose processes, sockets and clock are what the test says."""

    def __init__(self) -> None:
        self.running: dict[int, HostProcess] = {}
        self.opened: list[OpenFile] = []
        self.tcp: list[Socket] = []
        self.rulesets: list[str] = []
        self.apart: list[list[str]] = []
        self.reboots: list[int] = []
        self.time = NOW
        self.boot = BOOT

    def run(self, pid: int, *arguments: str, executable: str = WINE, **environment: str) -> None:
        self.running[pid] = HostProcess(pid, 1, NOW - 100 + pid / 1000, arguments, executable, environment)

    def processes(self) -> Iterable[HostProcess]:
        return list(self.running.values())

    def open_files(self, pids: Iterable[int]) -> Iterable[OpenFile]:
        wanted = set(pids)
        return [opened for opened in self.opened if opened.pid in wanted]

    def kill(self, pid: int) -> None:
        self.running.pop(pid, None)

    def alive(self, pid: int) -> bool:
        return pid in self.running

    def sockets(self) -> Iterable[Socket]:
        return self.tcp

    def addresses(self) -> Iterable[Address]:
        return [Address("lo", 1, "127.0.0.1", 8, True), Address("host0", 2, "10.77.0.14", 24)]

    def start_apart(self, arguments: Sequence[str], environment: Mapping[str, str], directory: str) -> int:
        self.apart.append(list(arguments))
        pid = 7000 + len(self.apart)
        self.run(pid, *arguments, executable="/usr/bin/python3")
        return pid

    def load_rules(self, ruleset: str) -> None:
        self.rulesets.append(ruleset)

    def reboot(self, delay_s: int = 0) -> None:
        self.reboots.append(delay_s)

    def cancel_reboot(self) -> None:
        self.reboots.clear()

    def boot_time(self) -> float:
        return self.boot

    def now(self) -> float:
        return self.time

    def memory(self) -> int:
        return 16 * 2**30

    def processors(self) -> int:
        return 8


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def begun() -> list[tuple[str, str]]:
    """Task instances that were started: path and mark."""
    return []


@pytest.fixture
def machine(tmp_path: Path, host: FakeHost, begun: list[tuple[str, str]]) -> Machine:
    settings = Settings(user="admin", adapters=(Adapter("NVIDIA GeForce RTX 3070", 8 * 2**30),))
    drives = {"C": tmp_path / "c", "D": tmp_path / "d"}
    return Machine.create(
        tmp_path / "state", drives, settings, host=host, start_task=lambda path, mark: begun.append((path, mark))
    )


@pytest.fixture
def admin(machine: Machine) -> Session:
    return machine.session(machine.user)


@pytest.fixture
def guest(machine: Machine) -> Session:
    """The same user without an administrator's token."""
    return machine.session(machine.accounts.identity(machine.accounts.user_sid, administrator=False))


# Paths


@pytest.mark.parametrize(
    ("given", "full"),
    [
        (r"C:\a\..\b", r"C:\b"),
        ("c:/a/b/", r"C:\a\b"),
        (r"x\y", r"C:\Users\admin\x\y"),
        (r"\x", r"C:\x"),
        ("C:x", r"C:\Users\admin\x"),
        (r"C:\name. . .\b ", r"C:\name\b"),
        ("C:\\", "C:\\"),
    ],
)
def test_a_path_becomes_full_as_windows_makes_it(given: str, full: str) -> None:
    assert str(full_path(given, r"C:\Users\admin")) == full


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("C:\\a|b", win32.INVALID_NAME),
        ("C:\\a*", win32.INVALID_NAME),
        (r"\\server\share\x", win32.BAD_NETPATH),
        ("C:\\" + "x" * 257, win32.FILENAME_EXCED_RANGE),
    ],
)
def test_what_cannot_be_a_path_has_windows_own_error(given: str, code: int) -> None:
    with pytest.raises(Win32Error) as caught:
        full_path(given, "C:\\")
    assert caught.value.code == code


def test_a_device_is_no_file_that_the_model_knows() -> None:
    with pytest.raises(NotModelled):
        full_path(r"C:\logs\nul", "C:\\")


# Registry


def test_names_in_the_registry_are_found_whatever_their_case_and_keep_their_spelling(admin: Session) -> None:
    admin.registry.create(r"HKLM\SOFTWARE\Corral\Environment")
    admin.registry.set(r"HKLM\software\CORRAL\environment", Value("OLLAMA_HOST", Kind.String, "0.0.0.0"))
    admin.registry.set(r"HKLM\SOFTWARE\Corral\Environment", Value("ollama_host", Kind.ExpandString, "%x%"))
    [value] = admin.registry.values(r"HKEY_LOCAL_MACHINE\SOFTWARE\corral\Environment")
    assert value == Value("OLLAMA_HOST", Kind.ExpandString, "%x%")


def test_each_kind_of_value_comes_back_as_it_was_stored(admin: Session) -> None:
    admin.registry.create(r"HKLM\SOFTWARE\x")
    values = [
        Value("s", Kind.String, "text"), Value("e", Kind.ExpandString, "%a%"), Value("d", Kind.DWord, 2**32 - 1),
        Value("q", Kind.QWord, 8 * 2**30), Value("b", Kind.Binary, b"\0\xff"), Value("m", Kind.MultiString, ["a", "b"]),
    ]  # fmt: skip
    for value in values:
        admin.registry.set(r"HKLM\SOFTWARE\x", value)
    assert admin.registry.values(r"HKLM\SOFTWARE\x") == values


def test_the_current_users_keys_are_those_of_the_account_that_asks(machine: Machine, admin: Session) -> None:
    admin.registry.create(r"HKCU\Software\Mine")
    assert not machine.system.registry.exists(r"HKCU\Software\Mine")
    assert machine.system.registry.exists(rf"HKEY_USERS\{machine.accounts.user_sid}\Software\Mine")


def test_only_an_administrator_changes_the_machines_part_of_the_registry(guest: Session) -> None:
    with pytest.raises(Win32Error) as caught:
        guest.registry.create(r"HKLM\SOFTWARE\corral")
    assert caught.value.code == win32.ACCESS_DENIED
    guest.registry.create(r"HKCU\Software\corral")


def test_two_scripts_at_once_lose_no_change(machine: Machine, tmp_path: Path, host: FakeHost, admin: Session) -> None:
    other = Machine(tmp_path / "state", host=host)
    admin.registry.create(r"HKLM\SOFTWARE\a")
    Registry(other.store, machine.user).create(r"HKLM\SOFTWARE\b")
    admin.registry.create(r"HKLM\SOFTWARE\c")
    assert {"a", "b", "c"} <= set(Registry(other.store, machine.user).subkeys(r"HKLM\SOFTWARE"))


def test_a_new_machine_says_that_it_is_windows_11_and_what_its_card_holds(admin: Session) -> None:
    registry = admin.registry
    assert registry.value(CURRENT_VERSION, "CurrentBuildNumber") == Value("CurrentBuildNumber", Kind.String, "22631")
    memory = registry.value(rf"{DISPLAY_CLASS}\0000", "HardwareInformation.qwMemorySize")
    assert memory == Value("HardwareInformation.qwMemorySize", Kind.QWord, 8 * 2**30)
    path = registry.value(Scope.MACHINE, "Path")
    assert path
    assert path.kind is Kind.ExpandString


# Environment


def test_a_new_process_gets_the_machines_variables_expanded_and_the_users_path_behind_the_machines(
    admin: Session,
) -> None:
    admin.registry.set(Scope.MACHINE, Value("OLLAMA_MODELS", Kind.ExpandString, r"%SystemDrive%\models"))
    block = admin.environment()
    assert block["ollama_models"] == r"C:\models"
    assert block["PATH"].startswith(r"C:\Windows\system32;C:\Windows;")
    assert block["Path"].endswith(r"C:\Users\admin\AppData\Local\Microsoft\WindowsApps;")


def test_setting_a_variable_through_net_makes_reg_sz_of_it_and_broadcasts(machine: Machine, admin: Session) -> None:
    admin.variables.set(Scope.MACHINE, "Path", r"%SystemRoot%;C:\x")
    stored = admin.registry.value(Scope.MACHINE, "Path")
    assert stored == Value("Path", Kind.String, r"%SystemRoot%;C:\x")
    admin.variables.set(Scope.MACHINE, "nobody", None)
    assert dump.dump(machine, keys=(), paths=())["broadcasts"] == ["Environment", "Environment"]


def test_a_task_gets_the_variables_of_the_last_start_of_the_machine(machine: Machine, admin: Session) -> None:
    admin.registry.set(Scope.MACHINE, Value("OLLAMA_HOST", Kind.String, "0.0.0.0"))
    system = machine.system.identity
    assert "OLLAMA_HOST" not in machine.task_environment(system)
    assert admin.environment()["OLLAMA_HOST"] == "0.0.0.0"
    machine.boot()
    assert machine.task_environment(system)["OLLAMA_HOST"] == "0.0.0.0"


def test_names_of_variables_differ_by_more_than_case() -> None:
    block = Block({"Path": "a"})
    block["PATH"] = "b"
    assert dict(block) == {"Path": "b"}


# Files


def test_a_file_is_found_whatever_the_case_of_its_path(admin: Session) -> None:
    admin.files.make_directory(r"C:\ProgramData\Ollama")
    admin.files.write(r"c:\programdata\OLLAMA\A.txt", b"x")
    assert admin.files.read(r"C:\PROGRAMDATA\ollama\a.TXT") == b"x"
    assert str(admin.files.entry(r"c:\programdata\ollama\a.txt").path) == r"C:\ProgramData\Ollama\A.txt"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (r"C:\ProgramData\nothing", win32.FILE_NOT_FOUND),
        (r"C:\ProgramData\no\thing", win32.PATH_NOT_FOUND),
        (r"Z:\x", win32.PATH_NOT_FOUND),
        (r"C:\ProgramData", win32.ACCESS_DENIED),
    ],
)
def test_a_file_that_cannot_be_read_has_windows_own_error(admin: Session, path: str, code: int) -> None:
    with pytest.raises(Win32Error) as caught:
        admin.files.read(path)
    assert caught.value.code == code


def test_a_file_opened_for_itself_alone_is_closed_to_everybody_else(
    tmp_path: Path, host: FakeHost, admin: Session
) -> None:
    other = Machine(tmp_path / "state", host=host).session(admin.identity)
    lock = admin.files.open(r"C:\ProgramData\lock", Mode.OpenOrCreate, Use.READ | Use.WRITE, Use.NONE)
    with pytest.raises(Win32Error) as caught:
        other.files.open(r"C:\ProgramData\lock", Mode.OpenOrCreate, Use.READ | Use.WRITE, Use.NONE)
    assert (caught.value.code, caught.value.hresult) == (win32.SHARING_VIOLATION, 0x80070020 - 2**32)
    lock.close()
    other.files.open(r"C:\ProgramData\lock", Mode.Open, Use.READ, Use.NONE).close()


def test_the_handle_of_a_process_that_ended_keeps_nobody_out(machine: Machine, admin: Session) -> None:
    admin.files.write(r"C:\ProgramData\x", b"")
    status = admin.files.locate(r"C:\ProgramData\x").stat()
    (machine.directory / "handles" / f"{status.st_dev}-{status.st_ino}-3-0-dead").touch()
    admin.files.open(r"C:\ProgramData\x", Mode.Open, Use.READ | Use.WRITE, Use.NONE).close()


def test_a_file_that_a_program_has_open_can_be_read_and_not_deleted(host: FakeHost, admin: Session) -> None:
    admin.files.write(r"C:\ProgramData\server.log", b"log")
    status = admin.files.locate(r"C:\ProgramData\server.log").stat()
    host.run(50, OLLAMA, "serve")
    host.opened = [OpenFile(50, status.st_dev, status.st_ino, writable=True)]
    assert admin.files.read_shared(r"C:\ProgramData\server.log") == b"log"
    for action in (
        lambda: admin.files.delete_file(r"C:\ProgramData\server.log"),
        lambda: admin.files.move(r"C:\ProgramData\server.log", r"C:\ProgramData\old.log"),
        lambda: admin.files.read(r"C:\ProgramData\server.log"),
    ):
        with pytest.raises(Win32Error) as caught:
            action()
        assert caught.value.code == win32.SHARING_VIOLATION


def test_a_program_that_runs_can_be_renamed_but_neither_deleted_nor_its_directory_moved(
    host: FakeHost, admin: Session
) -> None:
    admin.files.make_directory(r"C:\Program Files\Ollama\0.34.4")
    admin.files.write(OLLAMA, b"MZ")
    status = admin.files.locate(OLLAMA).stat()
    host.run(50, OLLAMA, "serve")
    host.opened = [OpenFile(50, status.st_dev, status.st_ino, image=True)]
    with pytest.raises(Win32Error) as deleted:
        admin.files.delete_file(OLLAMA)
    with pytest.raises(Win32Error) as moved:
        admin.files.move(r"C:\Program Files\Ollama\0.34.4", r"C:\Program Files\Ollama\old")
    assert (deleted.value.code, moved.value.code) == (win32.ACCESS_DENIED, win32.ACCESS_DENIED)
    admin.files.move(OLLAMA, r"C:\Program Files\Ollama\0.34.4\ollama.old")


def test_moving_a_file_onto_another_replaces_it_only_when_asked(admin: Session) -> None:
    admin.files.write(r"C:\ProgramData\a", b"new")
    admin.files.write(r"C:\ProgramData\b", b"old")
    with pytest.raises(Win32Error) as caught:
        admin.files.move(r"C:\ProgramData\a", r"C:\ProgramData\b")
    assert caught.value.code == win32.ALREADY_EXISTS
    admin.files.move(r"C:\ProgramData\a", r"C:\ProgramData\B", replace=True)
    assert admin.files.read(r"C:\ProgramData\b") == b"new"
    assert not admin.files.exists(r"C:\ProgramData\a")


def test_a_directory_does_not_move_to_another_drive(admin: Session) -> None:
    admin.files.make_directory(r"C:\ProgramData\x")
    with pytest.raises(Win32Error) as caught:
        admin.files.move(r"C:\ProgramData\x", r"D:\x")
    assert caught.value.code == win32.NOT_SAME_DEVICE


def test_a_drive_that_is_full_takes_no_more(machine: Machine, admin: Session) -> None:
    faults.set_drive(machine, "D", free=3)
    admin.files.write(r"D:\small", b"abc")
    with pytest.raises(Win32Error) as caught:
        admin.files.write(r"D:\large", b"abcd")
    assert caught.value.code == win32.DISK_FULL


def test_a_drive_that_is_gone_has_no_files(machine: Machine, admin: Session) -> None:
    admin.files.write(r"D:\x", b"")
    faults.remove_drive(machine, "D")
    assert not admin.files.exists(r"D:\x")
    with pytest.raises(Win32Error) as caught:
        admin.files.make_directory(r"D:\Models")
    assert caught.value.code == win32.PATH_NOT_FOUND


# Access


def test_a_user_without_rights_writes_neither_programs_nor_the_state_of_others(guest: Session, admin: Session) -> None:
    admin.files.make_directory(r"C:\Program Files\Ollama")
    admin.files.make_directory(r"C:\ProgramData\Ollama")
    admin.files.write(r"C:\ProgramData\Ollama\secrets.txt", b"x")
    for path in (r"C:\Program Files\Ollama\x", r"C:\ProgramData\Ollama\secrets.txt"):
        with pytest.raises(Win32Error) as caught:
            guest.files.write(path, b"y")
        assert caught.value.code == win32.ACCESS_DENIED
    assert guest.files.read(r"C:\ProgramData\Ollama\secrets.txt") == b"x"
    guest.files.write(r"C:\ProgramData\own", b"")


def test_a_list_without_inheritance_shuts_others_out(machine: Machine, admin: Session, guest: Session) -> None:
    admin.files.write(r"C:\ProgramData\secrets.txt", b"x")
    path = full_path(r"C:\ProgramData\secrets.txt", "C:\\")
    machine.acls.set_entries(path, [Entry(SYSTEM, FULL), Entry(ADMINISTRATORS, FULL)], protected=True)
    with pytest.raises(Win32Error):
        guest.files.read(path)
    assert admin.files.read(path) == b"x"


def test_a_new_file_inherits_what_its_directory_passes_on(machine: Machine, admin: Session) -> None:
    admin.files.make_directory(r"D:\Models")
    machine.acls.set_entries(full_path(r"D:\Models", "C:\\"), [Entry(LOCAL_SERVICE, MODIFY, 3)], protected=False)
    admin.files.make_directory(r"D:\Models\blobs")
    admin.files.write(r"D:\Models\blobs\x", b"")
    listed = machine.acls.get(full_path(r"D:\Models\blobs\x", "C:\\"), False)
    assert Entry(LOCAL_SERVICE, MODIFY, 0, inherited=True) in listed.entries


def test_a_file_that_is_moved_keeps_its_list_and_one_that_replaces_takes_that_of_the_replaced(
    machine: Machine, admin: Session
) -> None:
    admin.files.make_directory(r"C:\ProgramData\safe")
    machine.acls.set_entries(full_path(r"C:\ProgramData\safe", "C:\\"), [Entry(SYSTEM, FULL, 3)], protected=True)
    system = machine.system.files
    system.write(r"C:\ProgramData\safe\a", b"secret")
    system.write(r"C:\ProgramData\safe\b", b"secret")
    system.write(r"C:\ProgramData\open", b"")
    system.move(r"C:\ProgramData\safe\a", r"C:\ProgramData\a")
    system.replace(r"C:\ProgramData\safe\b", r"C:\ProgramData\open", None)
    sids = {
        name: {entry.sid for entry in machine.acls.get(full_path(rf"C:\ProgramData\{name}", "C:\\"), False).entries}
        for name in ("a", "open")
    }
    assert sids["a"] == {SYSTEM}
    assert USERS in sids["open"]


def test_denied_rights_win_over_allowed_ones(machine: Machine, guest: Session) -> None:
    path = full_path(r"C:\ProgramData\x", "C:\\")
    machine.acls.set_entries(path, [Entry(USERS, FULL), Entry(USERS, WRITE_DATA, allow=False)], protected=True)
    listed = machine.acls.get(path, False)
    assert listed.grants(guest.identity, READ_DATA)
    assert not listed.grants(guest.identity, WRITE_DATA)
    assert not listed.grants(guest.identity, READ_EXECUTE | WRITE_DATA)


# Processes and network


def test_what_a_program_starts_has_it_for_a_parent(host: FakeHost, machine: Machine) -> None:
    marked = {START: "m", PARENT: "4711", ACCOUNT: SYSTEM}
    host.run(40, "/usr/lib/wine/wine64", r"C:\windows\system32\winsess.exe", "x", **marked)
    host.run(50, OLLAMA, "serve", **marked)
    host.run(51, r"C:\Program Files\Ollama\0.34.4\lib\ollama\llama-server.exe", "--port", "5000", **marked)
    host.run(52, r"C:\windows\system32\services.exe", **marked)
    found = {process.pid: process for process in machine.processes.all()}
    assert set(found) == {4, 50, 51, 52}
    assert (found[50].parent, found[51].parent, found[52].parent) == (4711, 50, 4)
    assert found[50].sid == SYSTEM
    assert machine.processes.tree(50) == [51, 50]


def test_a_listener_that_wines_server_holds_belongs_to_the_program_that_asked_for_it(
    host: FakeHost, machine: Machine
) -> None:
    host.run(30, "wineserver64", executable="/usr/lib/wine/wineserver64")
    host.run(50, OLLAMA, "serve", OLLAMA_HOST="0.0.0.0:11500")
    host.run(51, r"C:\x\llama-server.exe", "--port", "5000", OLLAMA_HOST="0.0.0.0:11500")
    host.tcp = [
        Socket("0.0.0.0", 11500, "0.0.0.0", 0, "Listen", (30,)),
        Socket("127.0.0.1", 5000, "0.0.0.0", 0, "Listen", (30,)),
        Socket("0.0.0.0", 22, "0.0.0.0", 0, "Listen", (1,)),
    ]
    owners = {found.local_port: found.pid for found in machine.network.connections()}
    assert owners == {11500: 50, 5000: 51, 22: 4}
    assert machine.network.listening_ports(OLLAMA.upper()) == [11500]
    host.kill(51)
    # The only program there is does not get what is none of Wine's.
    assert {found.local_port: found.pid for found in machine.network.connections()}[22] == 4


def test_a_program_is_found_by_its_path_or_by_name_in_path(admin: Session) -> None:
    admin.files.write(r"C:\ProgramData\tool.exe", b"MZ")
    environment = {"PATH": r"C:\nowhere;C:\ProgramData"}
    assert str(find_program(admin.files, "TOOL", environment)) == r"C:\ProgramData\tool.exe"
    assert str(find_program(admin.files, "curl.exe", {})).lower() == r"c:\windows\system32\curl.exe"
    with pytest.raises(Win32Error) as caught:
        find_program(admin.files, r"C:\ProgramData\other.exe", environment)
    assert caught.value.code == win32.FILE_NOT_FOUND


@pytest.mark.parametrize("argument", ["", "a b", 'a"b', "a\\", 'a\\"b c\\', "-x=1 2"])
def test_an_argument_survives_quoting_and_reading(argument: str) -> None:
    assert arguments_of(f"{quoted(argument)} next") == [argument, "next"]


# Firewall


def test_a_rule_is_kept_as_the_registrys_line_of_text(admin: Session) -> None:
    admin.firewall.add(
        Rule(
            "corral-ollama-11434", "ollama 11434", protocol=6, local_ports=("11434",), group="corral",
            remote_addresses=addresses(["10.0.0.0/8", "LocalSubnet", "fd00::/8", "192.168.1.5/32"]),
        )
    )  # fmt: skip
    stored = admin.registry.value(rf"{FIREWALL_POLICY}\FirewallRules", "corral-ollama-11434")
    assert stored
    assert stored.data == (
        "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=11434|RA4=LocalSubnet|RA6=LocalSubnet|"
        "RA4=10.0.0.0/255.0.0.0|RA4=192.168.1.5|RA6=fd00::/8|Name=ollama 11434|EmbedCtxt=corral|"
    )
    assert parse("corral-ollama-11434", stored.data) == admin.firewall.rule("CORRAL-ollama-11434")


def test_every_stock_rule_survives_the_registry(admin: Session) -> None:
    rules = admin.firewall.rules()
    assert 30 <= len(rules) <= 45
    assert all(parse(rule.name, rule.format()) == rule for rule in rules)


def test_addresses_that_end_in_4_and_6_are_no_keywords() -> None:
    text = "v2.31|Action=Allow|Active=TRUE|Dir=In|RA4=10.0.0.4|RA4=10.0.0.6|Name=x|"
    assert parse("x", text).remote_addresses == ("10.0.0.4", "10.0.0.6")


@pytest.mark.parametrize("wrong", ["10.0.0.0/33", "somewhere", "10.0.0.9-10.0.0.1", "0.0.0.0/0"])
def test_an_address_that_the_firewall_does_not_take_is_refused(wrong: str) -> None:
    with pytest.raises(RuleError):
        addresses([wrong])


@pytest.mark.parametrize("wrong", ["70000", "9-1", "http"])
def test_a_port_that_the_firewall_does_not_take_is_refused(wrong: str) -> None:
    with pytest.raises(RuleError):
        ports([wrong])


def _lines(session: Session) -> list[str]:
    return [line.strip() for line in session.firewall.compiled().splitlines()]


def _allow(session: Session, **more: object) -> None:
    rule = Rule("allow", "allow", protocol=6, local_ports=("11434",), remote_addresses=("10.0.0.0/255.0.0.0",))
    session.firewall.add(replace(rule, **more))  # type: ignore[arg-type]


def test_what_no_rule_allows_is_dropped_and_what_one_allows_gets_in(admin: Session) -> None:
    _allow(admin)
    lines = _lines(admin)
    assert "tcp dport { 11434 } ip saddr { 10.0.0.0/8 } accept" in lines
    assert lines[-3] == "drop"


def test_a_block_rule_stands_before_every_allow_rule(machine: Machine, admin: Session) -> None:
    _allow(admin)
    faults.block_port(machine, 11434)
    lines = _lines(admin)
    assert lines.index("tcp dport { 11434 } drop") < lines.index("tcp dport { 11434 } ip saddr { 10.0.0.0/8 } accept")


def test_a_block_rule_for_a_program_blocks_the_ports_that_it_listens_on(
    host: FakeHost, machine: Machine, admin: Session
) -> None:
    faults.block_program(machine, OLLAMA)
    assert "tcp dport { 11434 } drop" not in _lines(admin)
    host.run(30, "wineserver64", executable="/usr/lib/wine/wineserver64")
    host.run(50, OLLAMA, "serve")
    host.tcp = [Socket("0.0.0.0", 11434, "0.0.0.0", 0, "Listen", (30,))]
    assert "tcp dport { 11434 } drop" in _lines(admin)


def test_a_rule_for_another_profile_does_not_count(machine: Machine, admin: Session) -> None:
    _allow(admin, profiles=("Private",))
    wanted = "tcp dport { 11434 } ip saddr { 10.0.0.0/8 } accept"
    assert wanted not in _lines(admin)
    faults.set_category(machine, "Private")
    assert wanted in _lines(admin)


def test_a_policy_that_ignores_local_rules_leaves_those_of_the_policy(machine: Machine, admin: Session) -> None:
    _allow(admin)
    faults.ignore_local_rules(machine)
    lines = _lines(admin)
    assert not any("11434" in line for line in lines)
    assert "tcp dport { 22 } accept" in lines
    assert admin.firewall.profile("Public", ACTIVE).allow_local_rules is False
    assert admin.firewall.profile("Public", GROUP_POLICY).allow_local_rules is False


def test_a_profile_that_is_off_lets_everything_in_and_a_shielded_one_nothing(machine: Machine, admin: Session) -> None:
    _allow(admin)
    faults.set_profile(machine, "Public", enabled=False)
    assert "drop" not in _lines(admin)
    faults.set_profile(machine, "Public", enabled=True, allow_inbound_rules=False)
    lines = _lines(admin)
    assert lines[-3] == "drop"
    assert not any("11434" in line for line in lines)


def test_an_interface_that_is_left_out_is_not_filtered(machine: Machine, admin: Session) -> None:
    faults.set_profile(machine, "Public", disabled_interfaces=["host0"])
    assert 'iifname "host0" accept' in _lines(admin)


def test_the_rules_are_loaded_where_the_host_stands_for_the_machine_and_only_when_they_change(
    host: FakeHost, machine: Machine
) -> None:
    machine.boot()
    assert host.rulesets == []
    machine.enforced = True
    machine.boot()
    machine.tick()
    assert len(host.rulesets) == 1
    faults.block_port(machine, 11434)
    assert len(host.rulesets) == 2


def test_a_user_without_rights_changes_no_rule(guest: Session) -> None:
    with pytest.raises(Win32Error) as caught:
        _allow(guest)
    assert caught.value.code == win32.ACCESS_DENIED


# Scheduled tasks


def _register(session: Session, text: str = TASK, name: str = "ollama") -> None:
    definition = taskxml.parse(text, session.machine.accounts.sid_of)
    session.tasks.register("\\corral\\", name, definition, replace_existing=True)


def test_a_registered_task_comes_back_normalised(admin: Session) -> None:
    _register(admin)
    exported = taskxml.render(admin.tasks.get("\\corral\\", "ollama").definition)
    assert exported.startswith('<?xml version="1.0" encoding="UTF-16"?>')
    assert "<URI>\\corral\\ollama</URI>" in exported
    assert "<UserId>S-1-5-18</UserId>" in exported
    assert "<Interval>PT1M</Interval>" in exported
    assert "StopIfGoingOnBatteries" not in exported
    again = taskxml.parse(exported, admin.machine.accounts.sid_of)
    assert taskxml.render(again) == exported


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("UTF-16", "UTF-8", taskxml.MALFORMED),
        ("</Task>", "", taskxml.MALFORMED),
        ("<Priority>4<", "<Priority>11<", taskxml.INVALID_VALUE),
        ("<Priority>4</Priority>", "<Speed>4</Speed>", taskxml.UNEXPECTED_NODE),
        ("PT0S", "an hour", taskxml.INVALID_VALUE),
        ("PT60S", "PT30S", taskxml.INVALID_VALUE),
        ("<UserId>SYSTEM<", "<UserId>nobody<", 0x80070534),
        ("2004/02", "2003/02", taskxml.NAMESPACE_WRONG),
        ('Context="Author"', 'Context="Other"', taskxml.INVALID_VALUE),
        (r"<Command>C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe</Command>", "", taskxml.MISSING_NODE),
    ],
)
def test_a_wrong_document_has_the_task_schedulers_own_error(admin: Session, old: str, new: str, code: int) -> None:
    assert old in TASK
    with pytest.raises(ComError) as caught:
        _register(admin, TASK.replace(old, new))
    assert caught.value.hresult == code


@pytest.mark.parametrize(
    ("text", "seconds", "short"),
    [("PT0S", 0, "PT0S"), ("PT72H", 259200, "P3D"), ("PT90M", 5400, "PT1H30M"), ("P1DT1S", 86401, "P1DT1S")],
)
def test_durations_are_read_and_shortened(text: str, seconds: int, short: str) -> None:
    assert taskxml.duration(text) == seconds
    assert taskxml.duration_text(seconds) == short


def test_a_boot_task_starts_when_the_machine_does_and_not_before(
    machine: Machine, admin: Session, host: FakeHost, begun: list[tuple[str, str]]
) -> None:
    machine.boot()
    host.time += 1
    _register(admin)
    machine.tick()
    assert begun == []
    host.time += 60
    machine.boot()
    assert [path for path, _ in begun] == ["\\corral\\ollama"]


def test_a_repetition_starts_the_task_again_after_it_has_ended_and_not_while_it_runs(
    machine: Machine, admin: Session, host: FakeHost, begun: list[tuple[str, str]]
) -> None:
    _register(admin)
    host.time += 1
    machine.boot()
    tasks = machine.system.tasks
    host.run(900, "supervisor", executable="/usr/bin/python3")
    tasks.update(*begun[0], supervisor=900, process=901)
    host.time += 60
    machine.tick()
    assert len(begun) == 1
    assert tasks.get("\\corral\\", "ollama").state is State.Running
    tasks.ended(*begun[0], 1)
    host.kill(900)
    host.time += 60
    machine.tick()
    assert len(begun) == 2
    host.time += 1
    machine.tick()
    assert len(begun) == 2


def test_stopping_a_task_ends_its_own_program_alone(
    machine: Machine, admin: Session, host: FakeHost, begun: list[tuple[str, str]]
) -> None:
    _register(admin)
    admin.tasks.run("\\corral\\", "ollama")
    host.run(900, "supervisor", executable="/usr/bin/python3")
    host.run(901, "powershell", executable="/usr/bin/python3")
    host.run(50, OLLAMA, "serve")
    admin.tasks.update(*begun[0], supervisor=900, process=901)
    assert admin.tasks.get("\\corral\\", "ollama").last_result == 0x41301
    admin.tasks.stop("\\corral\\", "ollama")
    found = admin.tasks.get("\\corral\\", "ollama")
    assert (found.state, found.last_result) == (State.Ready, 0x41306)
    assert 901 not in host.running
    assert 50 in host.running
    # What the supervisor says afterwards changes nothing.
    admin.tasks.ended(*begun[0], 1)
    assert admin.tasks.get("\\corral\\", "ollama").last_result == 0x41306


def test_a_disabled_task_starts_neither_on_demand_nor_at_boot(
    machine: Machine, admin: Session, host: FakeHost, begun: list[tuple[str, str]]
) -> None:
    _register(admin)
    assert admin.tasks.enable("\\corral\\", "ollama", False).state is State.Disabled
    with pytest.raises(ComError) as caught:
        admin.tasks.run("\\corral\\", "ollama")
    assert caught.value.hresult == 0x80041326
    host.time += 60
    machine.boot()
    assert begun == []


def test_a_folder_stays_when_its_last_task_goes_and_can_be_removed_then(admin: Session) -> None:
    _register(admin)
    with pytest.raises(ComError):
        admin.tasks.remove_folder("\\corral")
    admin.tasks.unregister("\\corral\\", "ollama")
    assert "\\corral" in admin.tasks.folders()
    admin.tasks.remove_folder("\\corral")
    assert "\\corral" not in admin.tasks.folders()


def test_a_user_without_rights_registers_no_task(guest: Session) -> None:
    with pytest.raises(Win32Error) as caught:
        _register(guest)
    assert caught.value.code == win32.ACCESS_DENIED


class FakeRunning:
    """A program that has ended already, or ends when it is killed."""

    def __init__(self, code: int | None) -> None:
        self.pid = 901
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        self.code = code

    def poll(self) -> int | None:
        return self.code

    def wait(self, timeout_s: float | None = None) -> int:
        if self.code is None:
            raise subprocess.TimeoutExpired("task", timeout_s or 0)
        return self.code

    def kill(self) -> None:
        self.code = 1


class FakeLauncher:
    """Notes what is started."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        self.lines: list[tuple[str, str, str]] = []

    def start(self, program: object, command_line: str, identity: object, *rest: object, **streams: object) -> Running:
        self.lines.append((str(program), command_line, getattr(identity, "sid", "")))
        return FakeRunning(self.code)


def test_an_instance_runs_its_program_as_the_tasks_account_and_keeps_its_exit_code(
    machine: Machine, admin: Session, begun: list[tuple[str, str]]
) -> None:
    launcher = FakeLauncher(5)
    machine.launcher = launcher
    _register(admin, TASK.replace("SYSTEM", "LOCAL SERVICE").replace("<RunLevel>HighestAvailable</RunLevel>", ""))
    admin.tasks.run("\\corral\\", "ollama")
    supervisor.run(machine, *begun[0])
    [(program, line, sid)] = launcher.lines
    assert program.lower().endswith("powershell.exe")
    assert line.endswith(r"powershell.exe -File C:\start.ps1")
    assert sid == LOCAL_SERVICE
    assert admin.tasks.get("\\corral\\", "ollama").last_result == 5


def test_a_program_that_runs_too_long_is_ended(machine: Machine, admin: Session, begun: list[tuple[str, str]]) -> None:
    machine.launcher = FakeLauncher(None)
    _register(admin, TASK.replace("PT0S", "PT1S"))
    admin.tasks.run("\\corral\\", "ollama")
    supervisor.run(machine, *begun[0])
    assert admin.tasks.get("\\corral\\", "ollama").last_result == 0x41306


def test_a_program_that_is_missing_is_tried_again_and_one_that_fails_is_not(
    machine: Machine, admin: Session, begun: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    again = "<Priority>4</Priority><RestartOnFailure><Interval>PT1M</Interval><Count>3</Count></RestartOnFailure>"
    machine.launcher = FakeLauncher(1)
    _register(admin, TASK.replace("<Priority>4</Priority>", again))
    admin.tasks.run("\\corral\\", "ollama")
    supervisor.run(machine, *begun[0])
    assert slept == []
    _register(admin, TASK.replace("<Priority>4</Priority>", again).replace("powershell.exe", "nothing.exe"))
    admin.tasks.run("\\corral\\", "ollama")
    supervisor.run(machine, *begun[1])
    assert slept == [60, 60, 60]
    assert admin.tasks.get("\\corral\\", "ollama").last_result == 0x80070002


# Faults and the whole state


def test_each_fault_shows_in_the_dump(machine: Machine, host: FakeHost) -> None:
    before = dump.dump(machine)
    faults.set_build(machine, 17763)
    faults.set_nvidia(machine, False)
    faults.set_elevated(machine, False)
    faults.set_language_mode(machine, "ConstrainedLanguage")
    faults.set_drive(machine, "D", kind="Removable", file_system="FAT32")
    faults.install_for_user(machine)
    faults.exclude_ports(machine, 11400, 11499)
    faults.remove_sshd(machine)
    after = dump.dump(machine, keys=(CURRENT_VERSION,))
    assert after["registry"][CURRENT_VERSION]["values"]["CurrentBuildNumber"] == ["String", "17763"]
    assert "DisplayVersion" not in after["registry"][CURRENT_VERSION]["values"]
    assert after["settings"]["nvidia"] is False
    assert after["settings"]["language_mode"] == "ConstrainedLanguage"
    assert not machine.user.elevated
    assert [volume["kind"] for volume in after["volumes"]] == ["Fixed", "Removable"]
    assert [process["name"] for process in after["processes"]] == ["System", "ollama app.exe"]
    assert after["excluded"] == [{"first": 11400, "last": 11499, "administered": False}]
    assert "hold" in host.apart[-1]
    assert "sshd" in before["services"]
    assert "sshd" not in after["services"]
    assert "OpenSSH-Server-In-TCP" not in after["rules"]


def test_what_a_test_undoes_leaves_the_dump_as_it_was(machine: Machine, admin: Session) -> None:
    before = dump.dump(machine)
    admin.registry.create(r"HKLM\SOFTWARE\corral")
    admin.files.make_directory(r"C:\ProgramData\Ollama")
    admin.files.write(r"C:\ProgramData\Ollama\x", b"x")
    _register(admin)
    _allow(admin)
    assert dump.dump(machine) != before
    admin.registry.delete(r"HKLM\SOFTWARE\corral")
    admin.files.delete_directory(r"C:\ProgramData\Ollama", True)
    admin.tasks.unregister("\\corral\\", "ollama")
    admin.tasks.remove_folder("\\corral")
    admin.firewall.remove("allow")
    assert dump.dump(machine) == before
