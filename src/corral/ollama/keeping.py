"""Which releases stay on a host beside the one in use, and which go (keep_versions). Decided here alone."""

from __future__ import annotations

from corral import versions
from corral.changes import Change
from corral.run import HostRun


def changes(run: HostRun) -> list[Change]:
    """Remove the releases that are no longer to be kept, and what is left of a removal that was cut off."""
    state = run.state
    going = removable(run)
    if not going and not state.removing:
        return []
    kept = run.settings.keep_versions
    return [
        Change(
            f"remove {', '.join([*going, *state.removing])} (keep_versions is {kept})",
            run.platform.remove_releases(run, going),
        )
    ]


def removable(run: HostRun) -> list[str]:
    """The directories of corral's releases beyond keep_versions, the one first that would have stayed longest.

    The wanted release comes first of those that stay, then the one in use and the one before it, then the newest.
    One that was found not good on this host is the first to go.
    """
    state = run.state
    names = {run.platform.release_dir(name): name for name in state.releases}

    def rank(directory: str) -> tuple[bool, tuple[int, ...]]:
        return names[directory] not in state.verdicts, versions.numbers(names[directory])

    newest = sorted(names, key=rank, reverse=True)
    first = [directory for directory in (state.current, state.previous) if directory in names]
    return list(dict.fromkeys((run.release_dir, *first, *newest)))[run.settings.keep_versions :]
