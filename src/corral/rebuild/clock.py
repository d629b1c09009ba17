"""A host's clock beside this machine's: how far it is off, and what that breaks."""

from __future__ import annotations

import time

from corral.errors import CorralError

#: More than a probe takes, and less than anything that compares times minds.
TOLERANCE_S = 300
#: Beyond it certificates and package lists are taken for not valid yet, or no longer.
FAILS_S = 86_400
UNITS = ((365.25 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes"))


def is_wrong(ahead_s: float) -> bool:
    """ahead_s: how far the host's clock is ahead of this machine's; negative: behind."""
    return abs(ahead_s) > TOLERANCE_S


def words(ahead_s: float) -> str:
    """As in "9.2 years behind"."""
    size, unit = next(((size, unit) for size, unit in UNITS if abs(ahead_s) >= size), UNITS[-1])
    return f"{abs(ahead_s) / size:.1f} {unit} {'ahead' if ahead_s > 0 else 'behind'}"


def check(ahead_s: float) -> None:
    """Raises CorralError for a clock with which TLS fails."""
    if abs(ahead_s) > FAILS_S:
        says = time.strftime("%Y-%m-%d", time.gmtime(time.time() + ahead_s))
        raise CorralError(
            f"the host's clock says {says}, {words(ahead_s)}: TLS fails with it, and so does every download",
            "Run deploys/rebuild.py, which sets it and has it kept right; or set it there: date -u -s @$(date +%s of a "
            "right clock)",
        )
