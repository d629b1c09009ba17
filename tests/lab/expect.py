"""What tests of bad days look for: one clear error, hosts that finish all the same, hosts that were left whole."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from lab.sandbox import wait_for

if TYPE_CHECKING:
    from lab.hosts import Lab
    from tests.lab.conftest import Run

ARCHIVE = "*/ollama-linux-amd64.tar.zst"
PLACES = "/opt/ollama /etc/systemd/system /etc/ollama /etc/ufw /etc/nftables.conf /usr/local/bin /var/lib/ollama"
INTERRUPTED = "Interrupted."
ANSI = re.compile(r"\x1b\[[0-9;]*m")

#: Prints the processes that some ssh session has started and that are still there.
SESSIONS = r"""
shopt -s globstar nullglob
for pid in $(cat /sys/fs/cgroup/{system.slice/ssh.service,user.slice}/**/cgroup.procs); do
  case $(cat "/proc/$pid/comm" 2>/dev/null) in
    sshd* | systemd | '(sd-pam)' | '') ;;
    *) ps -o pid=,args= -p "$pid" || true ;;
  esac
done
"""

#: Prints what is half done; nothing on a host that has all of a thing or none of it.
HALVES = r"""
shopt -s nullglob
for release in /opt/ollama/[0-9]*; do
  [ -x "$release/bin/ollama" ] && [ -s "$release/.corral-release" ] || echo "$release is not whole"
done
for link in /opt/ollama/current /usr/local/bin/ollama; do
  if [ -L "$link" ] && ! [ -e "$link" ]; then echo "$link leads nowhere"; fi
done
unit=/etc/systemd/system/ollama.service
if [ -e $unit ] && [ "$(tail -n 1 $unit)" != WantedBy=multi-user.target ]; then echo "$unit is cut short"; fi
drop_in=$unit.d/override.conf
if [ -e $drop_in ] && ! grep -q OLLAMA_MODELS $drop_in; then echo "$drop_in is cut short"; fi
if [ -e /etc/nftables.conf ] && command -v nft >/dev/null; then nft --check --file /etc/nftables.conf; fi
if systemctl -q is-active firewalld; then firewall-cmd -q --check-config; fi
"""

#: Prints what only a run at work has use for.
JUNK = (
    r"find /opt/ollama /etc /usr/local /var/lib/ollama /mnt -xdev "
    r"\( -name '*.corral' -o -name '.corral.*' -o -name '.unpack' -o -name '.download' -o -name '*-partial*' \)"
)


def one_error(run: Run, host: str, *words: str) -> str:
    """The one line of a failed run that is about the host and has all of these words."""
    assert run.rc not in (0, 130), run.out
    return said_once(run, host, *words)


def said_once(run: Run, host: str, *words: str) -> str:
    assert "Traceback" not in run.out, run.out
    found = [line for line in run.about(host).splitlines() if all(word in line for word in words)]
    assert len(found) == 1, f"{words} about {host} in:\n{run.out}"
    return found[0]


def details(run: Run, change: str) -> list[str]:
    """What is said below a change in a run on one host."""
    lines = [line.partition("] ")[2] for line in run.out.splitlines()]
    below = lines[next(number for number, line in enumerate(lines) if line.startswith(change)) + 1 :]
    return [line.removeprefix("  ") for line in takewhile(lambda line: line.startswith("  "), below)]


def finished(run: Run, host: str) -> bool:
    """Whether a host was set up and verified to its end."""
    return "verified: Ollama" in run.about(host)


def traces(lab: Lab, host: str) -> set[str]:
    """Every file in the places where corral writes, with size and time: the same as before means untouched."""
    return set(lab.exec(host, f"find {PLACES} -printf '%p %s %T@ %m %u\\n' 2>/dev/null").out.splitlines())


def left_running(lab: Lab, host: str, within_s: float = 8.0) -> str:
    """What still runs there of ssh sessions when this time is over; "" as soon as nothing does."""
    deadline = time.monotonic() + within_s
    while (left := lab.exec(host, SESSIONS).out.strip()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def assert_left_whole(lab: Lab, host: str) -> None:
    """A run that was cut off has left nothing at work and nothing by halves."""
    assert left_running(lab, host) == ""
    assert lab.exec(host, HALVES).out == ""


def assert_converged(run: Run, lab: Lab, host: str) -> None:
    """A run has ended well, and no scaffolding is left on the host."""
    assert run.rc == 0, run.out
    assert finished(run, host), run.out
    assert lab.exec(host, JUNK).out == ""


def assert_changed_nothing(run: Run, host: str) -> None:
    """A run that found everything as declared."""
    assert run.rc == 0, run.out
    assert "No changes" in run.about(host)
    assert "Success" not in run.about(host), run.out


def resumed_at(lab: Lab, path: str, since: float) -> list[int]:
    """Where downloads of a file began that asked for the rest of it, in bytes, in order."""
    asked = [r.range for r in lab.mirror.requests(since) if r.method == "GET" and r.path.endswith(path)]
    return [int(part.removeprefix("bytes=").partition("-")[0]) for part in asked if part]


class Watched:
    """A run in the background, with what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._begun = time.monotonic()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._news:
                self.lines.append(ANSI.sub("", line.rstrip()))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def out(self) -> str:
        return "\n".join(self.lines)

    def next(self, number: int, timeout_s: float = 120) -> str | None:
        """Line `number`, from 0, as soon as it is there; None at the end of the output."""
        with self._news:
            there = self._news.wait_for(lambda: len(self.lines) > number or self._ended, timeout_s)
            assert there, f"no more output within {timeout_s} s after:\n{self.out}"
            return self.lines[number] if len(self.lines) > number else None

    def until(self, word: str) -> None:
        """Wait for the first line with this word in it."""
        number = 0
        while (line := self.next(number)) is not None:
            if word in line:
                return
            number += 1
        raise AssertionError(f"{word!r} was never said:\n{self.out}")

    def kill(self) -> None:
        """kill -9 for the whole process group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, timeout_s: float = 120) -> int:
        """Wait for the end, and for all output; the exit code."""
        code = self.process.wait(timeout_s)
        with self._news:
            self._news.wait_for(lambda: self._ended, 10)
        return code


def file_on(lab: Lab, host: str, pattern: str) -> Path | None:
    """A file on the host that matches a shell pattern."""
    found = lab.exec(host, f"compgen -G '{pattern}'").out.split("\n")[0]
    return Path(found) if found else None


def wait_for_file(lab: Lab, host: str, pattern: str) -> None:
    wait_for(lambda: file_on(lab, host, pattern) is not None, 60, f"no {pattern} on {host}", pause_s=0.1)
