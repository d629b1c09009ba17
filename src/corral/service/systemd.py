"""ollama.service under systemd: the unit, the drop-in with the declared environment, and what must change.

The unit is corral's own file; the drop-in `override.conf` holds only what the inventory declares; other
drop-ins belong to the administrator and are never touched. Whether a restart is needed is read off the
running process itself (its executable, and the configuration's digest in its environment), so a run that
was cut off between writing a file and restarting is finished by the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files

import jinja2

from corral import layout
from corral.changes import Change
from corral.errors import CorralError
from corral.probe.state import LinuxState, parse_drop_in
from corral.scripts import Script, Value
from corral.service.wanted import Wanted, environment_differences

CONFIG = "CORRAL_CONFIG"


def quote(value: str) -> str:
    """A value between double quotes as systemd.syntax(7) has it; % starts a specifier, so it is doubled."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def drop_in(wanted: Wanted) -> str:
    """override.conf: the declared environment and nothing else."""
    lines = [f"{layout.MARK}; edit the inventory instead.", "[Service]"]
    lines += [f"Environment={quote(f'{name}={value}')}" for name, value in wanted.environment.items()]
    if wanted.secrets:
        lines.append(f"EnvironmentFile={layout.SECRETS}")
    return "\n".join(lines) + "\n"


def secrets_file(wanted: Wanted) -> str:
    """An EnvironmentFile (systemd.exec(5)); "" where there are no secrets."""
    escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in wanted.secrets.items()}
    return "".join(f'{name}="{value}"\n' for name, value in escaped.items())


def config_digest(wanted: Wanted) -> str:
    """Names everything that a running process got at its start, apart from its executable."""
    parts = (_unit(wanted, ""), drop_in(wanted), secrets_file(wanted))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def unit(wanted: Wanted) -> str:
    """The text of ollama.service."""
    return _unit(wanted, config_digest(wanted))


def _unit(wanted: Wanted, config: str) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["path"] = quote
    text = files("corral").joinpath("service/ollama.service").read_text(encoding="utf-8")
    return environment.from_string(text).render(
        user=layout.USER,
        home=layout.HOME,
        cache=layout.CACHE,
        current=layout.CURRENT,
        models_dir=wanted.models_dir,
        in_home=wanted.models_dir.startswith(("/home/", "/root/", "/run/user/")),
        low_port=wanted.port < 1024,
        config=config,
    )


def check(state: LinuxState) -> None:
    """Refuse a service that systemd would not start. Raises CorralError."""
    if state.service.load_state == "masked":
        raise CorralError(f"{layout.SERVICE} is masked on this host", f"systemctl unmask {layout.SERVICE}")


def changes(state: LinuxState, wanted: Wanted, copies: Sequence[Change] = ()) -> list[Change]:
    """What must be done so that the service is as wanted, in the order in which it must be done.

    copies: what brings models into the declared directory, before the service is told of it.
    """
    service = state.service
    changes = []
    if state.models_dir_owner != layout.USER:
        changes.append(
            Change(
                f"make {wanted.models_dir} for the models, owned by {layout.USER}",
                Script("service/directory.sh", {"DIRECTORY": wanted.models_dir, "OWNER": layout.USER}),
            )
        )
    changes += copies
    changes += _file_changes(state, wanted)
    reasons = _restart_reasons(state, wanted)
    enable = service.enabled != "enabled"
    if changes or reasons or enable or service.needs_reload:
        what = [f"enable {layout.SERVICE} at boot"] if enable else []
        if reasons:
            what.append(f"{'restart' if service.running else 'start'} {layout.SERVICE} ({', '.join(reasons)})")
        changes.append(
            Change(
                " and ".join(what) or "have systemd read its files again",
                Script("service/activate.sh", activation(wanted, restart=bool(reasons))),
            )
        )
    return changes


def activation(wanted: Wanted, *, restart: bool) -> dict[str, Value]:
    """What activate.sh reads."""
    return {
        "SERVICE": layout.SERVICE,
        "ADDRESS": wanted.own_address,
        "PORT": wanted.port,
        "RESTART": restart,
        "TIMEOUT_S": wanted.start_timeout_s,
    }


def end_of_trial(release: str, why: str = "") -> dict[str, Value]:
    """What end_trial.sh reads. release: the directory of the one that was tried; why: it is not good, if it is not."""
    return {
        "SERVICE": layout.SERVICE,
        "TRIAL": layout.TRIAL,
        "GUARD": layout.TRIAL_GUARD,
        "VERDICT": f"{release}/{layout.VERDICT}",
        "WHY": why,
    }


def _file_changes(state: LinuxState, wanted: Wanted) -> list[Change]:
    """The unit comes last: whenever the power goes, what it starts finds its settings."""
    changes = []
    seen_drop_in = state.service.drop_ins.get(layout.DROP_IN_NAME, "")
    secrets = secrets_file(wanted)
    mode, _, seen_secrets = state.secrets.partition("\n")
    if secrets and (seen_secrets != secrets or mode != "600 root"):
        changes.append(Change(f"write {layout.SECRETS} (secret)", _write(layout.SECRETS, "600", secrets)))
    if not secrets and state.secrets:
        changes.append(Change(f"remove {layout.SECRETS}", Script("service/remove_file.sh", {"FILE": layout.SECRETS})))
    if seen_drop_in != drop_in(wanted):
        difference = ", ".join(environment_differences(parse_drop_in(seen_drop_in), wanted.environment))
        changes.append(
            Change(
                f"write {layout.DROP_IN}" + (f" ({difference})" if difference else ""),
                _write(layout.DROP_IN, "644", drop_in(wanted)),
            )
        )
    if state.service.unit != unit(wanted) or state.service.unit_path != layout.UNIT:
        changes.append(Change(f"write {layout.UNIT}", _write(layout.UNIT, "644", unit(wanted))))
    if state.trial:
        changes.append(
            Change(f"end the trial of {state.trial}", Script("service/end_trial.sh", end_of_trial(state.trial)))
        )
    return changes


def _write(path: str, mode: str, text: str) -> Script:
    return Script("service/write_file.sh", {"FILE": path, "MODE": mode, "TEXT": text})


def _restart_reasons(state: LinuxState, wanted: Wanted) -> list[str]:
    service = state.service
    if not service.running:
        return [f"it is {service.active_state}" if service.active_state else "it is new"]
    reasons = []
    if service.executable != f"{wanted.release}/bin/ollama":
        reasons.append(f"it runs {service.executable.removesuffix(' (deleted)')}")
    if service.environment.get(CONFIG) != config_digest(wanted):
        reasons.append("its settings changed")
    return reasons
