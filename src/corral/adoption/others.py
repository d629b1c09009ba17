"""Somebody else's Ollama on a Linux host: who has put it there, and what makes room for corral's and loses no model.

install.sh's can be taken over (handover.py). What a package manager, a container's runtime or a person keeps is theirs
to end: the error holds the very commands.
"""

from __future__ import annotations

from corral import layout
from corral.adoption import unitfile
from corral.adoption.found import PREFIXES, Container, Holder, Program
from corral.errors import CorralError
from corral.probe.state import LinuxState

ADOPT = "Run deploys/adopt.py on this host: it takes that Ollama over with its models and its settings"
#: Where the snap keeps them: $SNAP_COMMON of the snap ollama.
SNAP_MODELS = "/var/snap/ollama/common/models"
REMOVE = {"dpkg": "apt remove", "rpm": "dnf remove", "pacman": "pacman -R"}
MANAGERS = {"dpkg": "Debian package", "rpm": "RPM package", "pacman": "package"}
#: What listens for a container, and which runtime has started it.
PROXIES = {
    "docker-proxy": "docker",
    "conmon": "podman",
    "rootlessport": "podman",
    "pasta": "podman",
    "slirp4netns": "podman",
}


def check(state: LinuxState, port: int, adopting: bool) -> None:
    """Refuse a host on which somebody else's Ollama is in the way. Raises CorralError.

    adopting: whether this run may take install.sh's over.
    """
    foreign, service = state.foreign, state.service
    if has_their_unit(state) and (package := foreign.package(service.unit_path)):
        raise _packaged(state, package)
    if foreign.snaps:
        raise _snap(foreign.snaps)
    if foreign.containers:
        raise _contained(foreign.containers[0], port)
    for holder in foreign.holders:
        raise _held(holder, state, port)
    if is_install_scripts(state):
        if not adopting:
            raise CorralError(
                f"this host has an Ollama that install.sh has put there ({', '.join(traces(state))})", ADOPT
            )
    elif has_their_unit(state):
        raise CorralError(
            f"{service.unit_path} was not written by corral: this host has an Ollama of its own",
            f"Stop it (systemctl disable --now {layout.SERVICE}) and move {service.unit_path} away; "
            "its models can stay, declare their place as models_dir",
        )
    elif has_their_drop_in(state) and not adopting:
        raise CorralError(f"{layout.DROP_IN} is not corral's: somebody has set up an Ollama of their own here", ADOPT)


def warnings(state: LinuxState, adopting: bool) -> list[str]:
    """Of an Ollama that was taken over, what is still there."""
    left = [] if adopting else traces(state)
    return [f"of another Ollama there is still {', '.join(left)}: deploys/adopt.py removes it"] if left else []


def has_their_unit(state: LinuxState) -> bool:
    return bool(state.service.unit) and not state.service.unit.startswith(layout.MARK)


def has_their_drop_in(state: LinuxState) -> bool:
    """Whether people have a drop-in by the name that corral's has."""
    text = state.service.drop_ins.get(layout.DROP_IN_NAME, "")
    return bool(text.strip()) and not text.startswith(layout.MARK)


def has_their_command(state: LinuxState) -> bool:
    return bool(state.command) and state.command != layout.PROGRAM


def is_install_scripts(state: LinuxState) -> bool:
    """Whether the unit and the command are as install.sh leaves them, or as Ollama's documentation has people write
    them; of what an earlier run has taken over in part, the rest."""
    if not has_their_unit(state):
        return has_their_command(state)
    starts = [e.value for e in unitfile.parse(state.service.unit) if (e.section, e.key) == ("Service", "ExecStart")]
    return state.service.unit_path == layout.UNIT and bool(starts) and starts[-1] in starts_of_install_script()


def starts_of_install_script() -> list[str]:
    """What ExecStart= says in the unit that install.sh writes."""
    return [f"{prefix}/bin/ollama serve" for prefix in (*PREFIXES, "")]


def traces(state: LinuxState) -> list[str]:
    """What of install.sh's there is: paths."""
    unit = [state.service.unit_path] if has_their_unit(state) else []
    paths = (one.path for one in state.foreign.programs if not one.package)
    return list(dict.fromkeys((*unit, *paths)))


def models_of(state: LinuxState) -> str:
    """Where the service's server, corral's or not, was told to keep its models, or does unless told."""
    told = state.service.environment.get("OLLAMA_MODELS", "")
    home = state.service.environment.get("HOME", "") or state.foreign.home
    return told or (f"{home}/.ollama/models" if home else "")


def _packaged(state: LinuxState, package: Program) -> CorralError:
    models = models_of(state)
    return CorralError(
        f"this host's Ollama comes from the {MANAGERS[package.manager]} {package.package} ({package.path})",
        "corral takes over none that a package manager keeps. Make room for its own, which loses no model:",
        "\n".join(
            (
                f"sudo systemctl disable --now {layout.SERVICE}",
                f"sudo {REMOVE[package.manager]} {package.package}",
                *_kept(models),
            )
        ),
    )


def _snap(units: tuple[str, ...]) -> CorralError:
    return CorralError(
        f"this host's Ollama is the snap ollama ({', '.join(units)})",
        "corral takes over no snap. Make room for its own, which loses no model, and only then remove the snap:",
        "\n".join(("sudo snap stop --disable ollama", *_moved("cp -a", SNAP_MODELS))),
    )


def _contained(container: Container, port: int) -> CorralError:
    tool, name = container.runtime, container.name
    models = f"{container.data}/models" if container.data else ""
    kept = _moved("cp -a", models) if models else _moved(f"{tool} cp", f"{name}:/root/.ollama/models")
    return CorralError(
        f"port {port} is held by the {tool} container {name} ({container.image})",
        "corral takes over no container. Make room for its server, which loses no model:",
        "\n".join((f"sudo {tool} stop {name} && sudo {tool} update --restart=no {name}", *kept)),
    )


def _held(holder: Holder, state: LinuxState, port: int) -> CorralError:
    listening = next((one.program for one in state.listeners if one.pid == holder.pid), "")
    program = listening or holder.executable.rpartition("/")[2] or "another program"
    if runtime := PROXIES.get(program):
        return CorralError(
            f"port {port} is taken by {program} (pid {holder.pid}), which listens for a container of {runtime}'s",
            f"Find it with `sudo {runtime} ps`, of {holder.user} too, stop it and keep it from starting again; "
            f"its models lie where `sudo {runtime} inspect` shows a mount at /root/.ollama",
        )
    if holder.executable.removesuffix(" (deleted)").endswith("/ollama"):
        models = holder.models or (f"{holder.home}/.ollama/models" if holder.home else "")
        return CorralError(
            f"port {port} is taken by {program} (pid {holder.pid}), which {holder.user} has started from "
            f"{holder.executable}",
            "Make room for corral's server, which loses no model, and see that nothing starts the other one again:",
            "\n".join((f"sudo kill {holder.pid}", *_moved("cp -a", models))),
        )
    return CorralError(
        f"port {port} is taken by {program} (pid {holder.pid}), which {holder.user} has started",
        "Stop it, or give OLLAMA_HOST another port in environment",
    )


def _kept(models: str) -> list[str]:
    return [f"# and declare models_dir: {models} to keep its models where they are"] if models else []


def _moved(copy: str, models: str) -> list[str]:
    """Commands that copy models to where corral looks for them unless told otherwise."""
    if not models:
        return []
    return [f"sudo mkdir -p {layout.HOME}", f"sudo {copy} {models} {layout.MODELS}"]
