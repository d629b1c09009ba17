"""What happens on a host between two looks at it: every command that is run, every way a file comes to be."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from inotify_simple import INotify, flags

from lab.sandbox import init_process, root_of

if TYPE_CHECKING:
    from lab.hosts import Lab

#: Everything by which a name in a directory could come, go or be written to.
APPEARANCES = (
    flags.CREATE | flags.MODIFY | flags.CLOSE_WRITE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.ATTRIB
)


@contextmanager
def commands_over_ssh(lab: Lab, host: str) -> Iterator[list[str]]:
    """Every command line that ssh sessions of the host run in the block, however short; there when it has ended.

    By strace, from the host's sshd on: each line is the call of execve as strace prints it.
    """
    members = lab.sandbox.host_group(host) / "payload/system.slice/ssh.service/cgroup.procs"
    listener = members.read_text().split()[0]
    trace = lab.layout.state / f"trace-{host}"
    with subprocess.Popen(
        ["strace", "-f", "-e", "trace=execve,execveat", "-s", "1000000", "-o", trace, "-p", listener],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as strace:  # fmt: skip
        commands: list[str] = []
        try:
            assert strace.stderr
            assert "attached" in (said := strace.stderr.readline()), said
            yield commands
        finally:
            strace.terminate()
            strace.communicate()
            commands += re.findall(r"execve(?:at)?\(.*", trace.read_text())
            trace.unlink()


@contextmanager
def appearances(lab: Lab, host: str, paths: Iterable[str]) -> Iterator[dict[str, list[str]]]:
    """How each of these files of the host came to be what it is after the block: inotify's words, in order.

    One that was renamed into place has ["MOVED_TO"], one that was written in place starts with "CREATE" or
    "MODIFY". Their directories must be there before.
    """
    pid = init_process(lab.sandbox.host_group(host))
    assert pid is not None, f"{host} is off"
    found: dict[str, list[str]] = {path: [] for path in paths}
    with INotify() as inotify:
        directories: dict[int, PurePosixPath] = {}
        for directory in {PurePosixPath(path).parent for path in found}:
            inside: Path = root_of(pid) / directory.relative_to("/")
            directories[inotify.add_watch(inside, APPEARANCES)] = directory
        yield found
        for event in inotify.read(timeout=0):
            path = str(directories[event.wd] / event.name)
            if path in found:
                found[path] += [str(flag.name) for flag in flags.from_mask(event.mask) if flag != flags.ISDIR]
