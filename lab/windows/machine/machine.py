"""The machine: everything that scripts act on, as it lies in one directory of the host."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from . import hives, services, stock, taskxml
from .acl import Acls
from .environment import Block, Scope, Variables, block_for
from .errors import NotModelled
from .files import FileSystem
from .firewall import RULES, Firewall
from .handles import Handles
from .hives import Adapter
from .host import Host, LinuxHost
from .identity import SYSTEM, Accounts, Identity, system
from .launch import MODELLED, REPOSITORY, Launcher
from .network import Network
from .processes import Processes
from .registry import DOCUMENT as REGISTRY
from .registry import Kind, Registry, Value, put
from .services import Services
from .store import Store
from .tasks import Tasks
from .taskxml import Action, Principal, Task
from .volumes import Volume, Volumes

DOCUMENT = "machine"
TASK_ENVIRONMENT = "task-environment"
STATE = Path("/var/lib/windows")
PREFETCH = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
DIRECTORIES = (
    r"C:\Program Files",
    r"C:\Program Files (x86)",
    r"C:\ProgramData\ssh",
    r"C:\Windows\System32\WindowsPowerShell\v1.0",
    r"C:\Windows\System32\OpenSSH",
    r"C:\Windows\System32\config\systemprofile\AppData\Local\Temp",
    r"C:\Windows\ServiceProfiles\LocalService\AppData\Local\Temp",
    r"C:\Windows\Temp",
    r"C:\Users\Public",
)


@dataclass(frozen=True)
class Settings:
    """What a machine is made as.

    locale:         en-US or zh-CN: the language of Windows.
    administrator:  whether the user belongs to the Administrators, and so gets a full token over the network.
    language_mode:  of PowerShell: FullLanguage or ConstrainedLanguage.
    nvidia:         whether NVIDIA's driver is installed.
    revocation:     whether Schannel finds nobody to ask whether a certificate was revoked, as with a network's own
                    authority; curl.exe then refuses every TLS server.
    """

    computer: str = "DESKTOP-LAB"
    user: str = "user"
    locale: str = "en-US"
    administrator: bool = True
    language_mode: str = "FullLanguage"
    nvidia: bool = True
    revocation: bool = True
    adapters: tuple[Adapter, ...] = field(default=())


class Machine:
    """One machine. `start_task` and `launcher` are replaced in tests, and by whoever runs programs under Wine."""

    def __init__(
        self,
        directory: Path = STATE,
        *,
        host: Host | None = None,
        launcher: Launcher | None = None,
        start_task: Callable[[str, str], None] | None = None,
    ) -> None:
        self.directory = directory
        self.store = Store(directory)
        self.host: Host = host or LinuxHost()
        self.launcher = launcher
        #: Whether the firewall's rules are loaded into the host's own: only where the host stands for this machine.
        self.enforced = directory == STATE
        settings = self.settings
        self.accounts = Accounts(settings.computer, settings.user)
        self.volumes = Volumes(self.store)
        self.acls = Acls(self.store, self.accounts)
        self.processes = Processes(self.store, self.host, self.accounts)
        self.handles = Handles(directory / "handles", self.store, self.processes.open_files)
        self.network = Network(self.store, self.host, self.processes)
        self.services = Services(self.store)
        self._start_task = start_task or self._start_supervisor

    @property
    def settings(self) -> Settings:
        document = dict(self.store.read(DOCUMENT))
        adapters = tuple(Adapter(**adapter) for adapter in document.pop("adapters", ()))
        return Settings(**document, adapters=adapters)

    def change_settings(self, **changes: object) -> None:
        self.store.write(DOCUMENT, asdict(replace(self.settings, **changes)))  # type: ignore[arg-type]

    def session(self, identity: Identity) -> Session:
        """The machine as somebody sees and changes it."""
        return Session(self, identity)

    @property
    def system(self) -> Session:
        """The machine as its own services see it."""
        return self.session(system(self.settings.computer))

    @property
    def user(self) -> Identity:
        """Who logs on over ssh."""
        return self.accounts.identity(self.accounts.user_sid, administrator=self.settings.administrator)

    @classmethod
    def create(
        cls,
        directory: Path,
        drives: Mapping[str, Path],
        settings: Settings | None = None,
        *,
        host: Host | None = None,
        launcher: Launcher | None = None,
        start_task: Callable[[str, str], None] | None = None,
    ) -> Machine:
        """Makes a new machine. `drives`: letters, and the directories of the host that hold their files."""
        settings = settings or Settings()
        store = Store(directory)
        store.write(DOCUMENT, asdict(settings))
        machine = cls(directory, host=host, launcher=launcher, start_task=start_task)
        adapters = settings.adapters if settings.nvidia else ()
        registry = hives.new_registry(machine.accounts, adapters, machine.host.processors(), settings.locale)
        put(registry, PREFETCH, [Value("BootId", Kind.DWord, 0)])
        put(registry, RULES, [Value(rule.name, Kind.String, rule.format()) for rule in stock.RULES])
        store.write(REGISTRY, registry)
        for letter, root in drives.items():
            root.mkdir(parents=True, exist_ok=True)
            machine.volumes.put(Volume(letter, str(root), label="" if letter == "C" else "Data"))
        for service in services.STOCK:
            machine.services.put(service)
        for capability in (services.OPENSSH_CLIENT, services.OPENSSH_SERVER):
            machine.services.set_capability(capability, "Installed")
        machine._make_files()
        machine._make_tasks()
        machine._note_environment()
        return machine

    def boot(self) -> None:
        """What happens when the machine starts: called by the service of the host that stands for it, once a boot."""
        registry = self.system.registry
        before = registry.value(PREFETCH, "BootId")
        registry.set(PREFETCH, Value("BootId", Kind.DWord, (int(before.data) if before else 0) + 1))  # type: ignore[arg-type]
        self._note_environment()
        self.system.tasks.booted()
        self.system.firewall.apply()
        self.tick()

    def tick(self) -> None:
        """What happens by itself while the machine is on; called about once a second."""
        session = self.system
        session.tasks.tick()
        session.firewall.apply()

    def task_environment(self, identity: Identity) -> Block:
        """What a task's program gets: the Machine variables as they were when the Task Scheduler started.

        A service's processes inherit what it had; only what logs on anew sees later changes.
        """
        noted = [Value(name, Kind[kind], data) for name, kind, data in self.store.read(TASK_ENVIRONMENT, list)]
        return block_for(identity, self.session(identity).registry, self.settings.computer, noted)

    def _note_environment(self) -> None:
        values = self.system.registry.values(Scope.MACHINE)
        self.store.write(TASK_ENVIRONMENT, [[value.name, value.kind.name, value.data] for value in values])

    def _make_files(self) -> None:
        files = self.system.files
        home = rf"C:\Users\{self.settings.user}"
        for path in (*DIRECTORIES, rf"{home}\AppData\Local\Temp", rf"{home}\AppData\Roaming"):
            files.make_directory(path)
        for path in sorted(MODELLED):
            if path.endswith("nvidia-smi.exe") and not self.settings.nvidia:
                continue
            host = files.locate(path)
            if not host.exists():
                host.touch()

    def _make_tasks(self) -> None:
        """Two of the many tasks that Windows comes with."""
        tasks = self.system.tasks
        for folder, name, command in (
            ("\\Microsoft\\Windows\\Defrag\\", "ScheduledDefrag", r"%windir%\system32\defrag.exe"),
            ("\\Microsoft\\Windows\\SystemRestore\\", "SR", r"%windir%\system32\srtasks.exe"),
        ):
            principal = Principal("LocalSystem", SYSTEM, run_level="HighestAvailable")
            task = Task((Action(command),), principal=principal, context="LocalSystem", version="1.4")
            settings = replace(task.settings, allow_demand_start=True, hidden=True, unified_engine=True)
            tasks.register(folder, name, taskxml.checked(replace(task, settings=settings)), replace_existing=True)

    def _start_supervisor(self, path: str, mark: str) -> None:
        self.host.start_apart(
            [sys.executable, "-m", "lab.windows.machine", f"--state={self.directory}", "run-task", path, mark],
            {"PYTHONPATH": str(REPOSITORY)},
            "/",
        )


class Session:
    """The machine as one identity sees and changes it."""

    def __init__(self, machine: Machine, identity: Identity) -> None:
        self.machine = machine
        self.identity = identity

    @cached_property
    def registry(self) -> Registry:
        return Registry(self.machine.store, self.identity)

    @cached_property
    def variables(self) -> Variables:
        return Variables(self.registry, self.machine.store)

    @cached_property
    def files(self) -> FileSystem:
        machine = self.machine
        return FileSystem(machine.volumes, machine.handles, machine.acls, self.identity)

    @cached_property
    def firewall(self) -> Firewall:
        machine = self.machine
        # Everybody may read it; the service itself loads the rules, whoever changed them.
        return Firewall(self.registry, machine.store, machine.network, machine.host, enforced=machine.enforced)

    @cached_property
    def tasks(self) -> Tasks:
        machine = self.machine
        return Tasks(machine.store, machine.host, machine.accounts, self.identity, machine._start_task)

    def environment(self) -> Block:
        """The environment of somebody who logs on now."""
        return block_for(self.identity, self.registry, self.machine.settings.computer)

    def launcher(self) -> Launcher:
        if self.machine.launcher is None:
            raise NotModelled("starting programs: this machine has no launcher")
        return self.machine.launcher
