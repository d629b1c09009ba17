"""What must hold before a host is changed. Each failure names what was found and what to do."""

from __future__ import annotations

from corral import firewall
from corral.errors import CorralError
from corral.gpus.judgement import problems, wants_integrated
from corral.ollama import models, releases
from corral.probe.state import HostState
from corral.run import HostRun
from corral.service import systemd


def preflight(run: HostRun) -> list[str]:
    """Check one host. Returns warnings; raises CorralError for what stands in the way."""
    settings, environment = run.settings, run.environment
    warnings = list(environment.warnings)
    state = run.state
    _check_system(state)
    releases.check(state)
    _ = run.release
    systemd.check(state)
    _check_port(state, environment.port)
    if not environment.loopback and settings.firewall != "none":
        firewall.changes(state.firewall, run.scope, environment.port)  # raises where corral can't open the port
        _check_exposure(state, environment.bind_address)
        warnings += firewall.warnings(state.firewall)
        if settings.allow_from == ("any",):
            warnings.append(
                "allow_from is any: whoever reaches this host can use, replace and delete its models, since "
                "Ollama asks nobody who they are"
            )
    models.check(run)
    if settings.require_gpu is not False:
        integrated = wants_integrated(environment.variables)
        warnings += map(str, problems(state.gpus, settings.ollama_version, integrated))
    if "OLLAMA_GO_TEMPLATE" not in environment.variables:
        # server/images.go of 0.34.4, where a model's template is chosen.
        warnings += [
            f"models: {spec.name}: template: Ollama may prefer the one inside the GGUF file; "
            "set OLLAMA_GO_TEMPLATE: true in environment to have yours used"
            for spec in run.models
            if spec.template is not None
        ]
    return warnings


def _check_system(state: HostState) -> None:
    if not state.root:
        raise CorralError("the ssh user is not root", "Declare sudo: true for this host, or log in as root")
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
    missing = {"flock", "sha256sum", "useradd", "ss", "tar"} - state.tools
    if missing:
        raise CorralError(
            f"the host lacks {', '.join(sorted(missing))}", "Install util-linux, coreutils, passwd, iproute2 and tar"
        )


def _check_port(state: HostState, port: int) -> None:
    for listener in state.listeners:
        if listener.pid != state.service.main_pid:
            who = f"{listener.program} (pid {listener.pid})" if listener.program else "another program"
            raise CorralError(
                f"port {port} is taken by {who}", "Stop it, or give OLLAMA_HOST another port in environment"
            )


def _check_exposure(state: HostState, bind_address: str) -> None:
    """Ollama has no authentication: it listens on a public address only behind a firewall or an explicit word."""
    public = [a for a in state.public_addresses if (":" in a) <= (bind_address == "::")]
    if state.firewall.kind == "none" and public:
        raise CorralError(
            f"no firewall is active and the host has the public address {public[0]}: the whole internet could use "
            "and delete its models",
            "Turn on ufw, firewalld or nftables there, or declare firewall: none if something else protects it",
        )
