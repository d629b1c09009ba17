"""What differs between the operating systems of hosts, behind one interface.

A deploy's steps, the planner and verification are the same for all; where one has to know the system it asks
`run.platform`. `platform_of` finds it by the connector that the inventory has chosen for the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from corral.changes import Change
from corral.checks import Check
from corral.errors import CorralError
from corral.probe.state import HostState
from corral.scripts import Script

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from corral.environment import Environment
    from corral.rebuild.stages import Stages
    from corral.run import HostRun


class Platform(Protocol):
    """One operating system.

    name: as `os` in an inventory. models_dir: where models lie unless declared otherwise. service: what people call the
    service. log: how they read its log. server_remedy: where to look when the server finds no GPU.
    """

    name: str
    models_dir: str
    service: str
    log: str
    server_remedy: str

    # --- places ---------------------------------------------------------------------------------

    def asset(self, architecture: str) -> str:
        """The file name of a release for this system; architecture: amd64 or arm64."""
        ...

    def release_dir(self, name: str) -> str:
        """Where the release of a version is unpacked."""
        ...

    def executable(self, release: str) -> str:
        """The server's program in a release's directory."""
        ...

    def modelfile_path(self, file: str) -> str:
        """Where a Modelfile lies, by its file name (layout.modelfile_name)."""
        ...

    def join(self, directory: str, *parts: str) -> str:
        """A path below a directory on the host."""
        ...

    def account(self, run: HostRun) -> str:
        """Who the service runs as."""
        ...

    # --- what is asked ---------------------------------------------------------------------------

    def probe(self, run: HostRun) -> HostState:
        """What the host looks like now: one remote command."""
        ...

    def lock(self, holder: str) -> Script:
        """Emits `locked`, and keeps other runs off the host until its connection ends."""
        ...

    def engine_devices(self, environment: Mapping[str, str]) -> Script:
        """Emits, as engine.<runner>, what each runner of the release in use can compute on; see gpus.engine."""
        ...

    def engine_question(
        self, environment: Mapping[str, str], runner: str, header: bytes, size: int, arguments: Sequence[str]
    ) -> Script:
        """Emits `answer`: what the engine of the release in use says it would take for a model; see engine.ask."""
        ...

    def server_log(self, after: str) -> Script:
        """Emits `journal`, the lines of the server's log that tell of GPUs, since its start or after a cursor, and
        `cursor`, the log's end."""
        ...

    def manifests(self, urls: Sequence[str], blobs: str, proxy: Mapping[str, str]) -> Script:
        """Emits manifest.<number> and `blobs`; see ollama.registry."""
        ...

    def header(
        self, urls: Sequence[str], first: Sequence[int], last: Sequence[int], proxy: Mapping[str, str]
    ) -> Script:
        """Emits part.<number> in lines: the bytes from first to last of each blob; see ollama.headers."""
        ...

    # --- what is changed ---------------------------------------------------------------------------

    def install_changes(self, run: HostRun) -> list[Change]:
        """What must be done so that the host has the pinned release, and `ollama` leads to it."""
        ...

    def fetch_changes(self, run: HostRun) -> list[Change]:
        """What must be done so that the host has the pinned release beside the one in use, which serves on."""
        ...

    def begin_trial(self, run: HostRun) -> Change:
        """Has the service run the wanted release for a trial. Whatever cuts the trial off, the host goes back by itself
        to the release in use. Raises CorralError on a system where corral can't do this."""
        ...

    def settle_changes(self, run: HostRun, *, back: bool) -> list[Change]:
        """What must be done so that the release in trial is the one in use. back: it is a rollback."""
        ...

    def give_up_trial(self, run: HostRun, why: str) -> Script:
        """Emits `journal`, the end of what the server has logged in the trial, has the service run the release in use
        again, and notes on the host why the other one is not good."""
        ...

    def remove_releases(self, run: HostRun, directories: Sequence[str]) -> Script:
        """Removes releases from which nothing runs."""
        ...

    def service_changes(self, run: HostRun) -> list[Change]:
        """What must be done so that the service is as wanted, in the order in which it must be done."""
        ...

    def firewall_changes(self, run: HostRun) -> list[Change]:
        """What must be done so that the declared addresses, and no others through us, reach the port."""
        ...

    def write_modelfile(self, file: str, text: str) -> Script: ...

    def remove_modelfile(self, file: str) -> Script: ...

    def reboot(self) -> Script:
        """Has the host reboot in a moment; the script itself ends well."""
        ...

    def stages(self, run: HostRun) -> Stages:
        """What comes before a deploy on a host with nothing but sshd. Raises CorralError where corral can't do it."""
        ...

    def uninstall_changes(self, run: HostRun) -> list[Change]:
        """What must be done so that nothing of corral's is left, but the models unless they are to go too."""
        ...

    def adoptable(self, run: HostRun) -> list[str]:
        """Of an Ollama that somebody else has put on the host: what a run that adopts takes over, in lines for people;
        none where there is no such thing."""
        ...

    def leftover_changes(self, run: HostRun) -> list[Change]:
        """What must be done so that nothing is left of an Ollama that was taken over and now does nothing."""
        ...

    # --- what is judged ------------------------------------------------------------------------------

    def lacks_rights(self) -> CorralError:
        """What to say where corral does not have an administrator's rights."""
        ...

    def check_environment(self, environment: Environment) -> None:
        """Raises CorralError for a declared environment that this system can't have."""
        ...

    def preflight(self, run: HostRun) -> list[str]:
        """Warnings; raises CorralError for what stands in the way of a deploy. Changes nothing."""
        ...

    def check_service(self, run: HostRun) -> list[Check]:
        """The service runs, at boot too, as the user, release and settings that are declared."""
        ...

    def firewall_name(self, state: HostState) -> str:
        """The firewall that filters connections to the host; "none" where nothing does."""
        ...

    def firewall_missing(self, run: HostRun) -> list[str]:
        """What keeps the declared addresses from reaching the port, now or after a reboot: a sentence for each."""
        ...

    def firewall_wider(self, run: HostRun) -> list[str]:
        """The rules, ours or not, that let in more than is declared: a sentence for each."""
        ...


def platform_of(host: Host) -> Platform:
    """By the host's connector: corral.connectors.windows is for Windows, every other one for Linux."""
    from corral.connectors.windows import WindowsConnector

    if isinstance(host.connector, WindowsConnector):
        from corral.platforms.windows import WINDOWS

        return WINDOWS
    from corral.platforms.linux import LINUX

    return LINUX
