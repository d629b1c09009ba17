"""Scripts against the machine that stands for a Windows PC: what cmdlets, programs and types of .NET do there."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.windows.commands import Shell, equipment, make_engine
from lab.windows.commands.launcher import HostLauncher
from lab.windows.machine import Machine, Settings, faults
from lab.windows.machine.host import Address, HostProcess, LinuxHost, Socket
from lab.windows.machine.paths import full_path
from lab.windows.powershell import PowerShellError, Refusal

Run = Callable[..., list[object]]


class QuietHost(LinuxHost):
    """This host, without its processes, its network and its firewall."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[HostProcess] = []
        self.killed: list[int] = []
        self.reboots: list[int] = []

    def processes(self) -> list[HostProcess]:
        return [process for process in self.shown if process.pid not in self.killed]

    def kill(self, pid: int) -> None:
        self.killed.append(pid)

    def alive(self, pid: int) -> bool:
        return any(process.pid == pid for process in self.processes())

    def sockets(self) -> list[Socket]:
        return []

    def addresses(self) -> list[Address]:
        return [Address("host0", 2, "10.77.0.14", 24)]

    def reboot(self, delay_s: int = 0) -> None:
        self.reboots.append(delay_s)


@pytest.fixture
def host() -> QuietHost:
    return QuietHost()


@pytest.fixture
def machine(tmp_path: Path, host: QuietHost) -> Machine:
    drives = {"C": tmp_path / "c", "D": tmp_path / "d"}
    return Machine.create(
        tmp_path / "state", drives, Settings(user="admin", nvidia=False), host=host, start_task=lambda path, mark: None
    )


def _shell(machine: Machine, *, administrator: bool = True) -> Shell:
    identity = machine.accounts.identity(machine.accounts.user_sid, administrator=administrator)
    session = machine.session(identity)
    return Shell(session, 4711, r"C:\Users\admin", session.environment())


@pytest.fixture
def run(machine: Machine) -> Run:
    """Runs a script as the user and gives what it puts out, as texts; what it does not catch is raised."""

    def call(text: str, *, administrator: bool = True) -> list[object]:
        shell = _shell(machine, administrator=administrator)
        engine = make_engine(shell, io.BytesIO(), io.BytesIO(), io.BytesIO())
        found = engine.run_script("$ErrorActionPreference = 'Stop'; " + text)
        return [str(value) if not isinstance(value, bool | int | None) else value for value in found]

    return call


def _error(run: Run, text: str, **more: bool) -> str:
    """FullyQualifiedErrorId of the error that a script ends with."""
    with pytest.raises(PowerShellError) as caught:
        run(text, **more)
    return caught.value.error_id


def test_every_cmdlet_program_and_type_has_one_name(machine: Machine) -> None:
    commands, _, types = equipment(_shell(machine))
    names = [command.name for command in commands]
    assert len(names) == len({name.lower() for name in names})
    assert len(types) == len({name.lower() for name in types})


# Items


def test_a_directory_is_made_listed_and_removed(run: Run) -> None:
    assert run(
        r"$null = New-Item -ItemType Directory -Force -Path C:\ProgramData\a\b; Set-Content C:\ProgramData\a\f.txt x;"
        r"(Get-ChildItem C:\ProgramData\a).Name; (Get-ChildItem C:\ProgramData\a -Directory).FullName;"
        r"Remove-Item C:\ProgramData\a -Recurse -Force; Test-Path C:\ProgramData\a"
    ) == ["b", "f.txt", r"C:\ProgramData\a\b", False]


def test_a_wildcard_finds_items_and_a_literal_path_has_none(run: Run) -> None:
    assert run(
        r"[IO.File]::WriteAllText('C:\ProgramData\[x].log', '1'); [IO.File]::WriteAllText('C:\ProgramData\y.log', '2');"
        r"(Get-ChildItem -Path C:\ProgramData\*.log).Name; Test-Path -LiteralPath 'C:\ProgramData\[x].log';"
        r"Test-Path -Path 'C:\ProgramData\[x].log'"
    ) == ["y.log", "[x].log", True, False]


def test_what_a_wildcard_finds_is_put_out_itself(run: Run) -> None:
    assert run(r"(Get-ChildItem -Path 'C:\Users\*\AppData').FullName") == [r"C:\Users\admin\AppData"]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (r"Get-Item C:\nothing", "PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand"),
        (r"Get-Item Q:\x", "DriveNotFound,Microsoft.PowerShell.Commands.GetItemCommand"),
        (r"Remove-Item C:\ProgramData", "InvalidOperation,Microsoft.PowerShell.Commands.RemoveItemCommand"),
        (r"New-Item -ItemType File C:\no\file", "NewItemIOError,Microsoft.PowerShell.Commands.NewItemCommand"),
        (r"New-Item -ItemType Directory C:\ProgramData", "DirectoryExist,Microsoft.PowerShell.Commands.NewItemCommand"),
        (r"Get-Process -Id 999999", "NoProcessFoundForGivenId,Microsoft.PowerShell.Commands.GetProcessCommand"),
        (r"Get-NetFirewallRule -Name none", "CmdletizationQuery_NotFound_InstanceID,Get-NetFirewallRule"),
        (r"Get-ScheduledTask -TaskName none", "CmdletizationQuery_NotFound_TaskName,Get-ScheduledTask"),
        (r"Get-NetTCPConnection -LocalPort 1", "CmdletizationQuery_NotFound_LocalPort,Get-NetTCPConnection"),
        (r"Get-Service none", "NoServiceFoundForGivenName,Microsoft.PowerShell.Commands.GetServiceCommand"),
        (
            r"Get-ItemProperty HKLM:\SOFTWARE\Microsoft -Name none",
            "System.Management.Automation.PSArgumentException,Microsoft.PowerShell.Commands.GetItemPropertyCommand",
        ),
    ],
)
def test_what_is_missing_has_the_cmdlets_own_error(run: Run, script: str, error: str) -> None:
    assert _error(run, script) == error


def test_moving_onto_a_file_needs_force(run: Run) -> None:
    prepare = r"Set-Content C:\ProgramData\a new; Set-Content C:\ProgramData\b old; "
    assert _error(run, prepare + r"Move-Item C:\ProgramData\a C:\ProgramData\b").startswith("MoveFileInfoItemIOError")
    assert run(r"Move-Item C:\ProgramData\a C:\ProgramData\b -Force; Get-Content C:\ProgramData\b") == ["new"]


def test_text_is_written_in_the_ansi_code_page_and_with_a_mark_in_utf_8(run: Run, machine: Machine) -> None:
    run(r"Set-Content C:\ProgramData\a 'ä'; Set-Content C:\ProgramData\b 'ä' -Encoding UTF8")
    files = machine.system.files
    assert (files.read(r"C:\ProgramData\a"), files.read(r"C:\ProgramData\b")) == (
        b"\xe4\r\n",
        b"\xef\xbb\xbf\xc3\xa4\r\n",
    )


def test_net_paths_begin_at_the_processs_directory_whatever_set_location_says(run: Run, machine: Machine) -> None:
    run(r"Set-Location C:\ProgramData; [IO.File]::WriteAllText('x', '1'); Set-Content y 2")
    assert machine.system.files.exists(r"C:\Users\admin\x")
    assert machine.system.files.exists(r"C:\ProgramData\y")


# Registry and environment


def test_a_registry_value_keeps_its_variables_where_that_is_asked_for(run: Run) -> None:
    assert run(
        r"$key = [Microsoft.Win32.RegistryKey]::OpenBaseKey('LocalMachine', 'Registry64').CreateSubKey('SOFTWARE\x');"
        r"$key.SetValue('p', '%SystemRoot%\y', [Microsoft.Win32.RegistryValueKind]::ExpandString); $key.GetValue('p');"
        r"$key.GetValue('p', $null, 'DoNotExpandEnvironmentNames'); [string]$key.GetValueKind('p'); $key.GetValue('q');"
        r"(Get-ItemProperty HKLM:\SOFTWARE\x).p; $key.DeleteValue('p'); $key.GetValueNames().Count"
    ) == [r"C:\Windows\y", r"%SystemRoot%\y", "ExpandString", None, r"C:\Windows\y", 0]


def test_a_key_that_was_opened_to_read_is_not_written(run: Run) -> None:
    script = r"[Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SOFTWARE').SetValue('x', 1)"
    assert _error(run, script) == "UnauthorizedAccessException"


def test_forcing_a_new_key_empties_the_old_one(run: Run) -> None:
    assert run(
        r"$null = New-Item HKLM:\SOFTWARE\x -Force; Set-ItemProperty HKLM:\SOFTWARE\x a 1;"
        r"$null = New-Item HKLM:\SOFTWARE\x -Force; (Get-Item HKLM:\SOFTWARE\x).Property.Count"
    ) == [0]


def test_a_machine_variable_is_stored_and_the_process_does_not_have_it(run: Run) -> None:
    assert run(
        "[Environment]::SetEnvironmentVariable('OLLAMA_HOST', '0.0.0.0', 'Machine'); $env:OLLAMA_HOST;"
        "[Environment]::GetEnvironmentVariable('OLLAMA_HOST', 'Machine');"
        "[Environment]::GetEnvironmentVariables('Machine').Contains('OLLAMA_HOST')"
    ) == [None, "0.0.0.0", True]


def test_a_user_without_rights_is_told_so(run: Run) -> None:
    script = r"New-Item HKLM:\SOFTWARE\x -Force"
    assert _error(run, script, administrator=False).startswith("System.Security.SecurityException")
    script = "[Environment]::SetEnvironmentVariable('X', '1', 'Machine')"
    assert _error(run, script, administrator=False) == "SecurityException"
    elevated = (
        "$me = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent());"
        "$me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)"
    )
    assert run(elevated) == [True]
    assert run(elevated, administrator=False) == [False]


# .NET's files


def test_two_exclusive_opens_of_one_file_exclude_each_other(run: Run) -> None:
    assert run(
        r"$one = [IO.File]::Open('C:\ProgramData\lock', 'OpenOrCreate', 'ReadWrite', 'None');"
        r"try { [IO.File]::Open('C:\ProgramData\lock', 'OpenOrCreate', 'ReadWrite', 'None') }"
        r"catch [IO.IOException] { '{0:X}' -f $_.Exception.HResult };"
        r"$one.Dispose(); [IO.File]::Open('C:\ProgramData\lock', 'Open', 'Read', 'None').CanWrite"
    ) == ["80070020", False]


def test_a_stream_writes_seeks_and_reads(run: Run) -> None:
    assert run(
        r"$file = [IO.File]::Open('C:\ProgramData\x', [IO.FileMode]::CreateNew); $bytes = [byte[]](104, 105);"
        r"$file.Write($bytes, 0, 2); $file.Flush($true); $null = $file.Seek(1, [IO.SeekOrigin]::Begin);"
        r"$file.ReadByte(); $file.Length; $file.SetLength(1); $file.Dispose();"
        r"[IO.File]::ReadAllText('C:\ProgramData\x')"
    ) == [105, 2, "h"]


def test_replacing_a_file_that_is_not_there_fails_and_one_that_is_keeps_no_trace(run: Run) -> None:
    prepare = r"[IO.File]::WriteAllText('C:\ProgramData\a', 'new'); "
    replace = r"[IO.File]::Replace('C:\ProgramData\a', 'C:\ProgramData\b', [NullString]::Value)"
    assert _error(run, prepare + replace) == "FileNotFoundException"
    assert run(
        r"[IO.File]::WriteAllText('C:\ProgramData\b', 'old'); " + replace + r"; Get-Content C:\ProgramData\b;"
        r"Test-Path C:\ProgramData\a"
    ) == ["new", False]


def test_a_directorys_move_is_refused_with_an_io_exception(run: Run) -> None:
    script = (
        r"$null = New-Item -ItemType Directory C:\ProgramData\a, C:\ProgramData\b;"
        r"[IO.Directory]::Move('C:\ProgramData\a', 'C:\ProgramData\b')"
    )
    assert _error(run, script) == "IOException"


# Firewall and tasks


def test_a_rule_is_made_read_back_changed_and_removed(run: Run, machine: Machine) -> None:
    assert run(
        "$null = New-NetFirewallRule -Name x -DisplayName 'ollama 11434' -Group corral -Direction Inbound -Action "
        "Allow -Enabled True -Profile Any -Protocol TCP -LocalPort 11434 -RemoteAddress 10.0.0.0/8, fd00::/8;"
        "$rule = Get-NetFirewallRule -Name x; [string]$rule.Enabled; [string]$rule.Profile; [bool]$rule.Enabled;"
        "($rule | Get-NetFirewallAddressFilter).RemoteAddress;"
        "$ports = Get-NetFirewallPortFilter -AssociatedNetFirewallRule $rule; $ports.Protocol; $ports.LocalPort;"
        "Set-NetFirewallRule -Name x -RemoteAddress 192.168.1.0/24 -Enabled False;"
        "(Get-NetFirewallRule -Name x | Get-NetFirewallAddressFilter).RemoteAddress"
    ) == [
        "True", "Any", True, "10.0.0.0/255.0.0.0", "fd00::/8", "TCP", "11434", "192.168.1.0/255.255.255.0",
    ]  # fmt: skip
    rule = machine.system.firewall.rule("x")
    assert rule
    assert not rule.active
    # What is off is true in PowerShell: its number is 2.
    assert run("[bool](Get-NetFirewallRule -Name x).Enabled; Remove-NetFirewallRule -Name x") == [True]
    assert machine.system.firewall.rule("x") is None


def test_a_rule_of_that_name_is_not_made_twice(run: Run) -> None:
    script = "New-NetFirewallRule -Name x -DisplayName x; "
    assert _error(run, script + script) == "Windows System Error 183,New-NetFirewallRule"
    assert (
        _error(run, "New-NetFirewallRule -Name y -DisplayName y -LocalPort 1")
        == "Windows System Error 87,New-NetFirewallRule"
    )


def test_the_active_store_says_what_counts(run: Run, machine: Machine) -> None:
    ask = "(Get-NetFirewallProfile -Name Public -PolicyStore ActiveStore).AllowLocalFirewallRules"
    assert run(ask) == ["NotConfigured"]
    faults.ignore_local_rules(machine)
    assert run(ask) == ["False"]


def test_a_task_is_registered_from_objects_as_from_xml(run: Run) -> None:
    xml = run(
        r"$null = Register-ScheduledTask -TaskName t -TaskPath \corral\ "
        r"-Action (New-ScheduledTaskAction -Execute 'powershell.exe' -Argument '-File C:\x.ps1') "
        r"-Trigger (New-ScheduledTaskTrigger -AtStartup) "
        r"-Principal (New-ScheduledTaskPrincipal -UserId SYSTEM -LogonType ServiceAccount -RunLevel Highest) "
        r"-Settings (New-ScheduledTaskSettingsSet -ExecutionTimeLimit ([TimeSpan]::Zero) -Priority 4);"
        r"Export-ScheduledTask -TaskPath \corral\ -TaskName t"
    )[0]
    assert isinstance(xml, str)
    assert "<UserId>S-1-5-18</UserId>" in xml
    assert "<ExecutionTimeLimit>PT0S</ExecutionTimeLimit>" in xml
    assert run(
        r"$task = Get-ScheduledTask -TaskPath \corral\ -TaskName t; [string]$task.State; $task.Principal.UserId;"
        r"(Get-ScheduledTaskInfo -InputObject $task).LastTaskResult;"
        r"Unregister-ScheduledTask -TaskPath \corral\ -TaskName t -Confirm:$false;"
        r"@(Get-ScheduledTask -TaskPath \corral\ -ErrorAction SilentlyContinue).Count"
    ) == ["Ready", "SYSTEM", 267011, 0]


def test_a_task_with_a_wrong_value_is_refused_with_the_services_number(run: Run) -> None:
    xml = (
        '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task"><Settings><Priority>99'
        "</Priority></Settings><Actions><Exec><Command>x</Command></Exec></Actions></Task>"
    )
    script = f"Register-ScheduledTask -TaskName t -Xml '{xml}'"
    assert _error(run, script) == "HRESULT 0x80041318,Register-ScheduledTask"


def test_nobody_is_asked_whether_a_task_may_go(run: Run) -> None:
    script = r"Unregister-ScheduledTask -TaskPath \Microsoft\Windows\Defrag\ -TaskName ScheduledDefrag"
    assert _error(run, script) == "InvalidOperation,Unregister-ScheduledTask"


# The system


def test_wmi_answers_conditions(run: Run, machine: Machine) -> None:
    faults.set_drive(machine, "D", kind="Removable", file_system="FAT32", free=5)
    assert run(
        "$disk = Get-CimInstance -ClassName Win32_LogicalDisk -Filter \"DeviceID = 'D:'\"; $disk.DriveType;"
        "$disk.FileSystem; $disk.FreeSpace;"
        "@(Get-CimInstance -ClassName Win32_Process -Filter \"Name LIKE 'ollama%' OR Name = 'none'\").Count"
    ) == [2, "FAT32", 5, 0]
    assert _error(run, "Get-CimInstance Win32_LogicalDisk -Filter 'nonsense'").startswith("HRESULT 0x80041017")


def test_reserved_ports_are_said_in_the_machines_language(run: Run, machine: Machine) -> None:
    faults.exclude_ports(machine, 11400, 11499, administered=True)
    ask = "netsh.exe int ipv4 show excludedportrange protocol=tcp"
    lines = run(ask)
    assert "Protocol tcp Port Exclusion Ranges" in lines
    assert [str(line).split() for line in lines if str(line).strip()[:1].isdigit()] == [["11400", "11499", "*"]]
    machine.change_settings(locale="zh-CN")
    assert "协议 tcp 端口排除范围" in run(ask)


def test_icacls_changes_the_list_that_get_acl_shows(run: Run, machine: Machine) -> None:
    assert run(
        r"Set-Content C:\ProgramData\s x; icacls.exe C:\ProgramData\s /inheritance:r /grant:r '*S-1-5-18:F' "
        r"'*S-1-5-32-544:(RX,W)' /q; (Get-Acl -LiteralPath C:\ProgramData\s).Sddl;"
        r"icacls.exe C:\ProgramData\s /remove:g '*S-1-5-32-544' /q;"
        r"(Get-Acl -LiteralPath C:\ProgramData\s).Access.Count"
    ) == ["O:BAG:BAD:PAI(A;;FA;;;SY)(A;;0x1201bf;;;BA)", 1]
    assert run(r"icacls.exe C:\ProgramData\s /grant 'nobody:F' 2>$null; $LASTEXITCODE".replace("2>$null", "")) == [1332]


def test_tar_unpacks_a_zip_archive(run: Run, machine: Machine) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ollama.exe", "MZ")
        archive.writestr("lib/ollama/ggml.dll", "x")
    machine.system.files.write(r"C:\ProgramData\o.zip", packed.getvalue())
    assert run(
        r"$null = New-Item -ItemType Directory C:\ProgramData\out;"
        r"tar.exe -xf C:\ProgramData\o.zip -C C:\ProgramData\out; $LASTEXITCODE;"
        r"(Get-ChildItem C:\ProgramData\out -Recurse -File).FullName"
    ) == [0, r"C:\ProgramData\out\ollama.exe", r"C:\ProgramData\out\lib\ollama\ggml.dll"]


def test_shutdown_reboots_the_host_after_the_time_that_was_given(run: Run, host: QuietHost) -> None:
    assert run("shutdown.exe /r /t 2 /d p:4:1; $LASTEXITCODE") == [0]
    assert host.reboots == [2]
    assert run("shutdown.exe /r /t 2; $LASTEXITCODE")[-1:] == [1115]


def test_taskkill_ends_a_tree_with_its_children_first(run: Run, host: QuietHost) -> None:
    marks = {"STAND_IN_START": "m", "STAND_IN_PARENT": "1"}
    for pid, name in ((60, "ollama.exe"), (61, "llama-server.exe")):
        host.shown.append(HostProcess(pid, 1, float(pid), (rf"C:\x\{name}",), "/usr/lib/wine/wine64", marks))
    assert run("$null = taskkill.exe /F /T /PID 60; $LASTEXITCODE") == [0]
    assert host.killed == [61, 60]


def test_cmd_redirects_and_joins(run: Run, machine: Machine) -> None:
    assert run(r'cmd.exe /c "whoami.exe > C:\ProgramData\w.txt 2>&1 && exit 7"; $LASTEXITCODE') == [7]
    assert machine.system.files.read(r"C:\ProgramData\w.txt") == b"desktop-lab\\admin\r\n"


def test_what_the_model_does_not_know_is_refused_whatever_the_script_catches(run: Run) -> None:
    for script in (
        "netsh.exe advfirewall show allprofiles", "Get-CimInstance Win32_BIOS", "Get-Item Cert:\\", "sc.exe query",
        "curl.exe --unheard-of", "Get-NetFirewallRule -PolicyStore RSOP", "New-Item C:\\ProgramData\\x",
    ):  # fmt: skip
        with pytest.raises(Refusal):
            run(f"try {{ {script} }} catch {{ }} 'went on'")


def test_a_modelled_program_is_a_process_of_its_own_with_all_32_bits_of_its_exit_code(machine: Machine) -> None:
    launcher = HostLauncher(machine, lambda: pytest.fail("no Wine here"))
    session = machine.session(machine.user)
    running = launcher.start(
        full_path(r"C:\Windows\System32\cmd.exe", "C:\\"), 'cmd.exe /c "exit 267014"', machine.user,
        session.environment(), r"C:\Users\admin", 4,
    )  # fmt: skip
    assert running.wait(60) == 267014


def test_a_process_is_started_waited_for_and_asked_for_its_exit_code(run: Run, machine: Machine) -> None:
    machine.launcher = HostLauncher(machine, lambda: pytest.fail("no Wine here"))
    started = (
        r"$process = Start-Process -FilePath cmd.exe -ArgumentList '/c whoami.exe' -NoNewWindow -PassThru "
        r"-RedirectStandardOutput C:\ProgramData\out.txt; "
    )
    end = r"$process.WaitForExit(); $process.HasExited; $process.ExitCode; Get-Content C:\ProgramData\out.txt"
    # Windows PowerShell loses the exit code of a process whose handle nobody asked for before its end.
    assert run(started + end) == [True, None, r"desktop-lab\admin"]
    assert run(started + "$null = $process.Handle; " + end) == [True, 0, r"desktop-lab\admin"]


def test_a_process_of_nets_own_hands_over_its_output(run: Run, machine: Machine) -> None:
    machine.launcher = HostLauncher(machine, lambda: pytest.fail("no Wine here"))
    assert run(
        "$info = New-Object Diagnostics.ProcessStartInfo 'cmd.exe', '/c echo hello && exit 3';"
        "$info.UseShellExecute = $false; $info.RedirectStandardOutput = $true;"
        "$process = [Diagnostics.Process]::Start($info); $process.StandardOutput.ReadToEnd().Trim();"
        "$process.WaitForExit(); $process.ExitCode"
    ) == ["hello", 3]


def test_a_program_in_the_current_directory_is_not_found_by_its_name_alone(run: Run, machine: Machine) -> None:
    machine.system.files.write(r"C:\Users\admin\own.exe", b"MZ")
    assert _error(run, "own.exe") == "CommandNotFoundException"
    assert run("(Get-Command curl.exe -CommandType Application).Source.ToLower()") == [r"c:\windows\system32\curl.exe"]
