r"""pyinfra's operations for Windows hosts (`@windows/NAME`), with the arguments of pyinfra's own:

    from corral.windows.operations import directory, environment_variable, put

    directory(name="Make room for the models", path=r"D:\Models")
    put(name="Upload the settings", src="files/settings.json", dest=r"C:\ProgramData\App\settings.json")
    environment_variable(name="Say where the models are", variable="APP_MODELS", value=r"D:\Models")

Each asks for facts, changes what differs, and does nothing the second time (but `powershell` and `reboot`).
Values travel as parameters of scripts and need no quoting. What goes wrong fails its own host; the others go on.
Windows has no owners, groups and modes as pyinfra means them: user, group and mode are refused, not ignored.
"""

from __future__ import annotations

import functools
import hashlib
import ntpath
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

from jinja2 import TemplateError
from pyinfra import logger
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import FileDownloadCommand, FileUploadCommand, FunctionCommand, PyinfraCommand
from pyinfra.api.exceptions import FactError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.api.util import get_file_io, get_template
from pyinfra.context import ctx_host, ctx_state, host, state

from corral.connectors.windows import WindowsConnector
from corral.errors import CorralError
from corral.terminal import escaped
from corral.windows import facts
from corral.windows.scripting import Parameter, PowerShell, script, sequence

P = ParamSpec("P")
T = TypeVar("T")
Commands = Generator[PyinfraCommand, None, None]


def _operation(is_idempotent: bool = True) -> Callable[[Callable[P, Commands]], PyinfraOperation[P]]:
    """Makes an operation whose errors fail its host; pyinfra would end the run of every host."""

    def decorator(function: Callable[P, Commands]) -> PyinfraOperation[P]:
        @functools.wraps(function)
        def contained(*args: P.args, **kwargs: P.kwargs) -> Commands:
            state, host = _here()
            if host in state.failed_hosts:  # an earlier operation refused it while changes were looked for
                return
            try:
                if not isinstance(host.connector, WindowsConnector):
                    raise CorralError(
                        "this operation is for Windows hosts", f"Declare {host.name} as @windows/{host.name}"
                    )
                yield from function(*args, **kwargs)
            except (CorralError, FactError, OSError, TemplateError) as error:
                _show(host, str(error))
                if state.is_executing:
                    yield FunctionCommand(_fail, (), {})
                elif not _arguments(host).get("_ignore_errors"):
                    state.failed_hosts.add(host)
                    state.active_hosts.discard(host)

        return operation(is_idempotent=is_idempotent)(contained)

    return decorator


def _here() -> tuple[State, Host]:
    """The objects behind pyinfra's `state` and `host`, which stand for whoever's turn it is."""
    return ctx_state.get(), ctx_host.get()  # type: ignore[no-untyped-call]


def _arguments(host: Host) -> dict[str, Any]:
    """pyinfra's own arguments of the operation in progress."""
    return dict(host.current_op_global_arguments or {})


def _fail(state: State, host: Host) -> bool:
    # pyinfra forgets failed hosts under --no-wait and would exit with 0.
    state.failed_hosts.add(host)
    return False


def _show(host: Host, text: str) -> None:
    host.log_styled("\n".join(map(escaped, text.split("\n"))), fg="red", log_func=logger.error)


def _fact(fact: type[FactBase[T]], **arguments: Any) -> T:
    """As host.get_fact, but what goes wrong fails this host alone: pyinfra's would ask whether to go on with others."""
    state, host = _here()
    done, output = host.run_shell_command(
        fact().command(**arguments),
        print_output=state.print_fact_output,
        print_input=state.print_fact_input,
        **{key: value for key, value in _arguments(host).items() if key in CONNECTOR_ARGUMENT_KEYS},
    )
    if not done:
        raise CorralError(output.stderr)
    return fact().process(output.stdout_lines)


def _only_windows(**arguments: object) -> None:
    for name, value in arguments.items():
        if value not in (None, False):
            raise CorralError(f"{name} has no meaning on a Windows host", f"Take {name} out for this host")


@_operation(is_idempotent=False)
def powershell(commands: str | Sequence[str], parameters: Mapping[str, Parameter] | None = None) -> Commands:
    """
    Run PowerShell, in place of server.shell and server.script.

    + commands: a script, or several that run one after the other, each in a PowerShell of its own
    + parameters: for the param() block at a script's beginning; strings, booleans, whole numbers, lists of strings

    A script fails with an exception that it does not catch, with `exit N`, or when the last program that it ran
    ended with a code that is not among _success_exit_codes. An error that is not terminating is made so:
    $ErrorActionPreference is Stop. It is not idempotent: it runs each time.
    """
    for command in sequence(commands):
        yield PowerShell(command, parameters=parameters)


@_operation()
def put(
    src: str | IO[Any],
    dest: str,
    user: None = None,
    group: None = None,
    mode: None = None,
    add_deploy_dir: bool = True,
    create_remote_dir: bool = True,
    force: bool = False,
    assume_exists: bool = False,
    atime: None = None,
    mtime: None = None,
) -> Commands:
    """
    Upload a file, in one step: there is never half of it.

    + src: a local file, or an object to read from
    + dest: where it goes; a directory that is there gets the file under its own name
    + add_deploy_dir: src is relative to the deploy directory
    + create_remote_dir: create the directory if it does not exist
    + force: upload it even if it is the same
    + assume_exists: the local file need not be there yet
    """
    _only_windows(user=user, group=group, mode=mode, atime=atime, mtime=mtime)
    local = src if hasattr(src, "read") else os.fspath(src)
    if isinstance(local, str):
        if add_deploy_dir and state.cwd:
            local = os.path.join(state.cwd, local)
        if not assume_exists and not Path(local).is_file():
            raise CorralError(f"there is no file {local} here", "Correct src")
    there = _fact(facts.File, path=dest)
    if there is False:
        if not isinstance(local, str):
            raise CorralError(f"{dest} is a directory on the host, and src has no name", "Name the file in dest")
        dest = ntpath.join(dest, Path(local).name)
        there = _fact(facts.File, path=dest)
    if there and not force and _local_sum(local) == _fact(facts.Sha256File, path=dest):
        host.noop(f"file {dest} is already uploaded")
        return
    if create_remote_dir and not there:
        yield from _make_parent(dest)
    yield FileUploadCommand(local, dest)


def _local_sum(local: str | IO[Any]) -> str | None:
    if isinstance(local, str) and not Path(local).is_file():
        return None
    with get_file_io(local) as content:  # pyinfra's get_file_sha256 remembers what a file was at first
        return hashlib.file_digest(content, "sha256").hexdigest()


def _make_parent(path: str) -> Iterator[PyinfraCommand]:
    parent = ntpath.dirname(path)
    if _fact(facts.Directory, path=parent) is None:
        yield script("directory.ps1", Path=parent)


@_operation()
def template(
    src: str | IO[Any],
    dest: str,
    user: None = None,
    group: None = None,
    mode: None = None,
    create_remote_dir: bool = True,
    jinja_env_kwargs: dict[str, Any] | None = None,
    **data: Any,
) -> Commands:
    """
    Render a jinja2 template and upload it, in UTF-8 without byte order mark.

    + src: the template's file, or an object to read it from
    + dest: where it goes
    + create_remote_dir: create the directory if it does not exist
    + jinja_env_kwargs: for jinja2's Environment; {"newline_sequence": "\\r\\n"} makes Windows' line ends
    + data: what the template sees besides host, state and inventory
    """
    if isinstance(src, str) and state.cwd:
        src = os.path.join(state.cwd, src)
    surroundings = {"host": host, "state": state, "inventory": state.inventory}
    rendered = StringIO(get_template(src, jinja_env_kwargs).render(surroundings | data))
    yield from put._inner(rendered, dest, user, group, mode, create_remote_dir=create_remote_dir)


@_operation()
def get(
    src: str, dest: str, add_deploy_dir: bool = True, create_local_dir: bool = False, force: bool = False
) -> Commands:
    """
    Download a file.

    + src: the file on the host
    + dest: the local file
    + add_deploy_dir: dest is relative to the deploy directory
    + create_local_dir: create the local directory if it does not exist
    + force: download it even if it is the same
    """
    if add_deploy_dir and state.cwd:
        dest = os.path.join(state.cwd, dest)
    if create_local_dir:
        Path(dest).parent.mkdir(parents=True, exist_ok=True)
    if not force and Path(dest).is_file() and _local_sum(dest) == _fact(facts.Sha256File, path=src):
        host.noop(f"file {dest} has already been downloaded")
        return
    yield FileDownloadCommand(src, dest)


@_operation()
def file(
    path: str,
    present: bool = True,
    user: None = None,
    group: None = None,
    mode: None = None,
    touch: bool = False,
    create_remote_dir: bool = True,
    force: bool = False,
    force_backup: bool = True,
    force_backup_dir: str | None = None,
) -> Commands:
    """
    Make an empty file, or remove one.

    + path: the file
    + present: whether it should be there
    + touch: say of a file that is there that it was written just now
    + create_remote_dir: create the directory if it does not exist
    + force: what is at path and no file is moved out of the way
    + force_backup: False: it is removed
    + force_backup_dir: where it is moved; None: beside
    """
    _only_windows(user=user, group=group, mode=mode)
    there = _fact(facts.File, path=path)
    if there is False:
        yield from _out_of_the_way(path, "file", force, force_backup, force_backup_dir)
        there = None
    if not present:
        if there:
            yield script("remove.ps1", Path=path)
        else:
            host.noop(f"file {path} does not exist")
    elif there and not touch:
        host.noop(f"file {path} already exists")
    else:
        if create_remote_dir and not there:
            yield from _make_parent(path)
        yield script("touch.ps1", Path=path)


@_operation()
def directory(
    path: str,
    present: bool = True,
    user: None = None,
    group: None = None,
    mode: None = None,
    recursive: bool = False,
    force: bool = False,
    force_backup: bool = True,
    force_backup_dir: str | None = None,
) -> Commands:
    """
    Make a directory and those above it, or remove one with all that is in it.

    + path: the directory
    + present: whether it should be there
    + force: what is at path and no directory is moved out of the way
    + force_backup: False: it is removed
    + force_backup_dir: where it is moved; None: beside
    """
    _only_windows(user=user, group=group, mode=mode, recursive=recursive)
    there = _fact(facts.Directory, path=path)
    if there is False:
        yield from _out_of_the_way(path, "directory", force, force_backup, force_backup_dir)
        there = None
    if not present:
        if there:
            yield script("remove.ps1", Path=path)
        else:
            host.noop(f"directory {path} does not exist")
    elif there:
        host.noop(f"directory {path} already exists")
    else:
        yield script("directory.ps1", Path=path)


def _out_of_the_way(path: str, wanted: str, force: bool, backup: bool, where: str | None) -> Iterator[PyinfraCommand]:
    if not force:
        raise CorralError(f"{path} is there, and is not a {wanted}", "Correct path, or set force to move it away")
    yield script("set_aside.ps1", Path=path, Directory=where or "") if backup else script("remove.ps1", Path=path)


@_operation()
def environment_variable(variable: str, value: str = "", present: bool = True) -> Commands:
    """
    Set or remove a variable of the machine's environment. What is started from then on sees it.

    + variable: its name, in any case
    + value: with a % in it, it is stored so that Windows expands it
    + present: whether it should be set
    """
    if present and not value:
        raise CorralError(f"{variable} has no value", "Give one, or set present to False")
    found = {name.lower(): stored for name, stored in _fact(facts.Environment).items()}.get(variable.lower())
    wanted = facts.Value("ExpandString" if "%" in value else "String", value) if present else None
    if found == wanted:
        host.noop(f"{variable} is already {'set' if present else 'absent'}")
    else:
        yield script("set_environment.ps1", Variable=variable, Value=value, Present=present)


@_operation()
def registry_value(
    path: str, value: str, data: facts.Stored = "", kind: facts.Kind = "String", present: bool = True
) -> Commands:
    r"""
    Set or remove a value of the registry, as 64-bit programs see it. Keys are made where they are missing.

    + path: the key, like HKLM:\SOFTWARE\Name
    + value: the value's name
    + data: str for String and ExpandString, int for DWord and QWord, a list of str for MultiString, else bytes
    + kind: String, ExpandString, DWord, QWord, MultiString or Binary
    + present: whether it should be there
    """
    text = facts.as_text(kind, data) if present else []
    if _fact(facts.Registry, path=path, value=value) == (facts.Value(kind, data) if present else None):
        host.noop(rf"{path}\{value} is already {'set' if present else 'absent'}")
    elif present:
        yield script("set_registry.ps1", Path=path, Name=value, Kind=kind, Value=text)
    else:
        yield script("remove_registry.ps1", Path=path, Name=value)


@_operation()
def service(
    service: str,
    running: bool | None = True,
    restarted: bool = False,
    reloaded: bool = False,
    command: None = None,
    enabled: bool | None = None,
) -> Commands:
    """
    Start, stop, restart, enable or disable a service.

    + service: its name, not its display name
    + running: whether it should run; None: leave it
    + restarted: restart it if it runs
    + enabled: whether Windows should start it; None: leave it
    """
    _only_windows(reloaded=reloaded, command=command)
    if any(sign in service for sign in "*?[]"):
        raise CorralError(f"{service!r} is not the name of one service", "Correct service")
    found = _fact(facts.Service, service=service)
    if found is None:
        raise CorralError(f"there is no service {service} on the host", "Get-Service shows the names there")
    runs = found["status"] in ("Running", "StartPending")
    actions = []
    if enabled is not None and enabled != (found["start_type"] == "Automatic"):
        actions.append("enable" if enabled else "disable")
    if running is not None and running != runs:
        actions.append("start" if running else "stop")
    elif restarted and runs:
        actions.append("restart")
    if not actions:
        host.noop(f"service {service} is as it should be")
    # Last of all "disable", first "enable": a disabled service cannot be started (learn.microsoft.com,
    # "StartServiceW", ERROR_SERVICE_DISABLED).
    for action in sorted(actions, key=("enable", "start", "stop", "restart", "disable").index):
        yield script("control_service.ps1", Name=service, Action=action)


@_operation(is_idempotent=False)
def reboot(delay: float = 10, interval: float = 1, reboot_timeout: float = 300) -> Commands:
    """
    Reboot the host and wait until it is back.

    + delay: seconds before the first attempt to connect
    + interval: seconds between attempts
    + reboot_timeout: seconds after which it has failed
    """
    yield FunctionCommand(_reboot, (delay, interval, reboot_timeout), {})


def _reboot(state: State, host: Host, delay: float, interval: float, reboot_timeout: float) -> bool:
    deadline = time.monotonic() + reboot_timeout
    done, output = host.run_shell_command(script("reboot.ps1"), print_output=state.print_output)
    if not done:
        _show(host, output.stderr)
        return _fail(state, host)
    asked = facts.BootTime().process(output.stdout_lines)
    host.disconnect()
    time.sleep(delay)
    while time.monotonic() < deadline:
        host.connect(show_errors=False)
        if host.connected:
            done, output = host.run_shell_command(script("boot_time.ps1"))  # it may still be going down
            if done and facts.BootTime().process(output.stdout_lines) > asked:
                return True
            host.disconnect()
        time.sleep(interval)
    _show(host, str(CorralError(f"it was not back {reboot_timeout:.0f} s after the reboot", "Look at its screen")))
    return _fail(state, host)
