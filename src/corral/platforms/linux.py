"""Linux: systemd, ufw, firewalld or nftables, bash."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from corral import firewall, layout
from corral.adoption import handover, others
from corral.changes import Change
from corral.checks import Check, check_environment
from corral.environment import Environment
from corral.errors import CorralError
from corral.firewall import unfiltered
from corral.gpus import engine
from corral.ollama import releases
from corral.probe import state as probe
from corral.probe.state import HostState, LinuxState
from corral.rebuild import clock
from corral.scripts import Script
from corral.service import move, removal, systemd, trial

if TYPE_CHECKING:
    from corral.rebuild.stages import Stages
    from corral.run import HostRun


class Linux:
    """See Platform."""

    name = "linux"
    models_dir = layout.MODELS
    service = layout.SERVICE
    log = "journalctl -u ollama"
    server_remedy = "See the driver and the groups of the user ollama"

    def asset(self, architecture: str) -> str:
        return f"ollama-linux-{architecture}.tar.zst"

    def release_dir(self, name: str) -> str:
        return layout.release_dir(name)

    def executable(self, release: str) -> str:
        return f"{release}/bin/ollama"

    def modelfile_path(self, file: str) -> str:
        return f"{layout.MODELFILES}/{file}"

    def join(self, directory: str, *parts: str) -> str:
        return "/".join((directory, *parts))

    def account(self, run: HostRun) -> str:
        return layout.USER

    def probe(self, run: HostRun) -> HostState:
        script = Script(
            "probe/probe.sh",
            probe.variables(run.settings.models_dir, run.port),
            then=("adoption/found.sh", "firewall/probe.sh", "gpus/probe.sh"),
        )
        state, models_dir = probe.parse(run.remote.run(script), time.time()), run.settings.models_dir
        if question := move.question(state, models_dir):
            state = move.seen(state, models_dir, run.remote.run(question))
        return handover.with_places(state, run.remote, models_dir) if run.adopting else state

    def lock(self, holder: str) -> Script:
        return Script("probe/lock.sh", {"LOCK": layout.LOCK, "HOLDER": holder, "GUARD": layout.TRIAL_GUARD})

    def engine_devices(self, environment: Mapping[str, str]) -> Script:
        return engine.script(layout.CURRENT, environment)

    def engine_question(
        self, environment: Mapping[str, str], runner: str, header: bytes, size: int, arguments: Sequence[str]
    ) -> Script:
        return Script(
            "engine/ask.sh",
            {
                **engine.variables(environment),
                "RUNNER": runner,
                "HEADER": base64.b64encode(header).decode(),
                "SIZE": size,
                "ARGUMENTS": arguments,
            },
        )

    def server_log(self, after: str) -> Script:
        return Script("service/gpu_journal.sh", {"SERVICE": layout.SERVICE, "AFTER": after})

    def manifests(self, urls: Sequence[str], blobs: str, proxy: Mapping[str, str]) -> Script:
        return Script("ollama/manifests.sh", {"URLS": urls, "BLOBS": blobs, **proxy})

    def header(
        self, urls: Sequence[str], first: Sequence[int], last: Sequence[int], proxy: Mapping[str, str]
    ) -> Script:
        return Script(
            "ollama/header.sh",
            {"URLS": urls, "FROM": list(map(str, first)), "TO": list(map(str, last)), **proxy},
        )

    def install_changes(self, run: HostRun) -> list[Change]:
        return [*self.fetch_changes(run), *releases.switch_changes(_state(run), run.release)]

    def fetch_changes(self, run: HostRun) -> list[Change]:
        return releases.fetch_changes(_state(run), run.release, run.proxy)

    def begin_trial(self, run: HostRun) -> Change:
        return trial.begin(_state(run), run.service)

    def settle_changes(self, run: HostRun, *, back: bool) -> list[Change]:
        return [*releases.switch_changes(_state(run), run.release, back=back), *self.service_changes(run)]

    def give_up_trial(self, run: HostRun, why: str) -> Script:
        return trial.give_up(run.service, why)

    def remove_releases(self, run: HostRun, directories: Sequence[str]) -> Script:
        return Script(
            "ollama/prune.sh", {"DIRECTORIES": directories, "LEFT": run.state.removing, "REMOVING": layout.REMOVING}
        )

    def service_changes(self, run: HostRun) -> list[Change]:
        state = _state(run)
        copies = move.copies(state, run.settings.models_dir)
        if run.adopting and not copies:
            return [*handover.changes(state, run.service), *move.ends(run, state)]
        return [*systemd.changes(state, run.service, copies), *move.ends(run, state)]

    def firewall_changes(self, run: HostRun) -> list[Change]:
        return firewall.changes(_state(run).firewall, run.opened_scope, run.port)

    def write_modelfile(self, file: str, text: str) -> Script:
        return Script("service/write_file.sh", {"FILE": self.modelfile_path(file), "MODE": "644", "TEXT": text})

    def remove_modelfile(self, file: str) -> Script:
        return Script("service/remove_file.sh", {"FILE": self.modelfile_path(file)})

    def reboot(self) -> Script:
        return Script("service/reboot.sh")

    def stages(self, run: HostRun) -> Stages:
        from corral.rebuild.stages import Stages  # which imports the run

        _check_system(_state(run))
        return Stages(run)

    def uninstall_changes(self, run: HostRun) -> list[Change]:
        state, settings = _state(run), run.settings
        remains = removal.Remains.of(run.remote.run(removal.question(state, settings.models_dir)))
        return removal.changes(
            state, remains, port=run.port, models_dir=settings.models_dir, remove_models=settings.remove_models
        )

    def adoptable(self, run: HostRun) -> list[str]:
        return handover.sentences(_state(run))

    def leftover_changes(self, run: HostRun) -> list[Change]:
        return handover.leftovers(_state(run), run.settings.models_dir)

    def lacks_rights(self) -> CorralError:
        return CorralError("the ssh user is not root", "Declare sudo: true for this host, or log in as root")

    def check_environment(self, environment: Environment) -> None:
        """Every declared environment can be had."""

    def preflight(self, run: HostRun) -> list[str]:
        state = _state(run)
        _check_system(state)
        _check_tools(state)
        clock.check(state.clock_ahead_s)
        systemd.check(state)
        move.check(state, run.settings.models_dir)
        others.check(state, run.port, run.adopting)
        if run.adopting:
            handover.check(state, run.service, run.settings.environment, run.declares("models_dir"))
        warnings = others.warnings(state, run.adopting)
        if run.opened_scope is not None:
            firewall.changes(state.firewall, run.opened_scope, run.port)  # raises where corral can't open the port
            if state.firewall.kind == "none":
                unfiltered.refuse_public(
                    state,
                    run.environment.bind_address,
                    "no firewall is active",
                    "Turn on ufw, firewalld or nftables there",
                )
            warnings += firewall.warnings(state.firewall)
        return warnings

    def check_service(self, run: HostRun) -> list[Check]:
        service, wanted = _state(run).service, run.service
        if not service.running:
            state = service.active_state or "not there"
            return [Check("service", False, f"{layout.SERVICE} is {state}.", "Run deploys/r1.py.")]
        pending = self.service_changes(run)
        differing = {
            name: None if name in wanted.secrets else service.environment.get(name, "unset")
            for name, value in {**wanted.environment, **wanted.secrets}.items()
            if service.environment.get(name) != value
        }
        others = [name for name in service.drop_ins if name != layout.DROP_IN_NAME]
        blamed = others and not pending
        blame = f"A drop-in of yours sets it: {', '.join(others)}." if blamed else "Run deploys/r1.py."
        return [
            Check(
                "service",
                service.enabled == "enabled" and service.user == layout.USER,
                f"{layout.SERVICE} is running as {service.user} and {service.enabled or 'not enabled'} at boot.",
                "Run deploys/r1.py.",
            ),
            Check(
                "unit",
                not pending,
                "the unit and its drop-in are as declared."
                if not pending
                else f"the service is not as declared; it takes: {'; '.join(c.summary for c in pending)}.",
                "Run deploys/r1.py.",
            ),
            check_environment(differing, blame),
        ]

    def firewall_name(self, state: HostState) -> str:
        assert isinstance(state, LinuxState)
        return state.firewall.kind

    def firewall_missing(self, run: HostRun) -> list[str]:
        return firewall.missing(_state(run).firewall, run.scope, run.port)

    def firewall_wider(self, run: HostRun) -> list[str]:
        return firewall.wider_than(_state(run).firewall, run.scope, run.port)


LINUX = Linux()


def _state(run: HostRun) -> LinuxState:
    assert isinstance(run.state, LinuxState)
    return run.state


def _check_system(state: LinuxState) -> None:
    """Raises CorralError for a system that Ollama's releases, or corral, can't run on."""
    if not state.systemd:
        raise CorralError(
            f"{state.os_name} does not run systemd", "corral runs Ollama as a systemd service and supports no other"
        )
    if state.musl:
        raise CorralError(f"{state.os_name} uses musl; Ollama's releases need glibc", "Use a distribution with glibc")
    if not state.architecture:
        raise CorralError(
            f"there is no release of Ollama for {state.machine or 'this machine'}", "It runs on x86_64 and aarch64"
        )


def _check_tools(state: LinuxState) -> None:
    missing = {"flock", "sha256sum", "useradd", "ss", "tar"} - state.tools
    if missing:
        raise CorralError(
            f"the host lacks {', '.join(sorted(missing))}",
            "Run deploys/rebuild.py, or install util-linux, coreutils, passwd, iproute2 and tar",
        )
