"""A release in trial under systemd: the service runs it, and everything on the disk still says the old one.

A drop-in below /run has the service start the other release, with the environment that is wanted for it. So a host
whose power is cut in the middle boots the old release, and one whose run ends is set back by a guard: a process that
waits for the run's lock. A good release is made the one in use by the rename of one link, without another restart.
"""

from __future__ import annotations

import re
from importlib.resources import files

from corral import layout
from corral.changes import Change
from corral.probe.state import LinuxState
from corral.scripts import Script
from corral.service import systemd
from corral.service.wanted import Wanted


def drop_in(state: LinuxState, wanted: Wanted) -> str:
    """What the service has to be told besides what it is told already.

    What a drop-in can't take back (a variable that goes, a secret, a line of the unit) is left out, and with it the
    digest of the configuration: then the service is restarted once more when its files are written.
    """
    lines = [f"{layout.MARK} for a trial.", "[Service]", "ExecStart=", f"ExecStart={wanted.executable} serve"]
    seen = state.declared_environment
    lines += [
        f"Environment={systemd.quote(f'{name}={value}')}"
        for name, value in wanted.environment.items()
        if seen.get(name) != value
    ]
    if _is_all_that_differs(state, wanted):
        lines.append(f"Environment={systemd.CONFIG}={systemd.config_digest(wanted)}")
    return "\n".join(lines) + "\n"


def _is_all_that_differs(state: LinuxState, wanted: Wanted) -> bool:
    unit = re.sub(rf"{systemd.CONFIG}=\w+", f"{systemd.CONFIG}={systemd.config_digest(wanted)}", state.service.unit)
    return (
        unit == systemd.unit(wanted)
        and state.declared_environment.keys() <= wanted.environment.keys()
        and state.secrets.partition("\n")[2] == systemd.secrets_file(wanted)
    )


def begin(state: LinuxState, wanted: Wanted) -> Change:
    """Restart the service with the wanted release."""
    return Change(
        f"restart {layout.SERVICE} with {wanted.executable} for a trial",
        Script(
            "service/trial.sh",
            {
                "TRIAL": layout.TRIAL,
                "TEXT": drop_in(state, wanted),
                "GUARD": layout.TRIAL_GUARD,
                "GUARD_SCRIPT": files("corral").joinpath("service/trial_guard.sh").read_text(encoding="utf-8"),
                "LOCK": layout.LOCK,
                "CURRENT": layout.CURRENT,
                **systemd.activation(wanted, restart=True),
            },
            then=("service/activate.sh",),
        ),
    )


def give_up(wanted: Wanted, why: str) -> Script:
    """Restart the service with what it ran before. wanted: as it was for the trial. See Platform.give_up_trial."""
    return Script(
        "service/end_trial.sh",
        {**systemd.end_of_trial(wanted.release, why), **systemd.activation(wanted, restart=True)},
        then=("service/activate.sh",),
    )
