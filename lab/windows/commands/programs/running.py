"""One run of a program: what it was given, and how its output gets back."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

from lab.windows.machine.launch import Running
from lab.windows.machine.paths import FullPath

from ..support import Shell

CHUNK = 65536


@dataclass(frozen=True)
class Invocation:
    """`text` is the command line behind the program's name; `stdin` of None: the shell's own."""

    shell: Shell
    program: FullPath
    arguments: list[str]
    text: str
    stdin: bytes | None
    environment: Mapping[str, str]
    directory: str
    stdout: Callable[[bytes], None]
    stderr: Callable[[bytes], None]

    @property
    def encoding(self) -> str:
        """The OEM code page, in which programs of Windows write when they have no console."""
        return "gbk" if self.chinese else "cp437"

    @property
    def chinese(self) -> bool:
        return self.shell.machine.settings.locale == "zh-CN"

    def say(self, text: str) -> None:
        """A line on standard output."""
        self.stdout(f"{text}\r\n".encode(self.encoding, "replace"))

    def complain(self, text: str) -> None:
        """A line on standard error."""
        self.stderr(f"{text}\r\n".encode(self.encoding, "replace"))


Program = Callable[[Invocation], int]


def started(call: Invocation, *, wine: bool = False) -> int:
    """Runs a program as a process of its own to its end; `wine`: as Wine has it, also where the stand-in models it."""
    running = call.shell.session.launcher().start(
        call.program,
        f'"{call.program}" {call.text}'.strip(),
        call.shell.session.identity,
        call.environment,
        call.directory,
        call.shell.pid,
        stdin=None if call.stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        wine=wine,
    )
    return relayed(running, call)


def on_host(arguments: list[str], call: Invocation, environment: Mapping[str, str], directory: str) -> int:
    """Runs a program of the host to its end; its exit code."""
    process = subprocess.Popen(
        arguments, env=dict(environment), cwd=directory, stdin=None if call.stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    return relayed(process, call)


def relayed(running: Running | subprocess.Popen[bytes], call: Invocation) -> int:
    """Passes a process's output on while it runs."""
    failures: list[BaseException] = []

    def pass_on(pipe: IO[bytes], sink: Callable[[bytes], None]) -> None:
        try:
            while data := pipe.read1(CHUNK):  # type: ignore[attr-defined]
                sink(data)
        except BaseException as failure:
            # The pipeline has ended: so does the program.
            failures.append(failure)
            running.kill()

    def feed(pipe: IO[bytes], data: bytes) -> None:
        try:
            pipe.write(data)
            pipe.close()
        except BrokenPipeError:
            return

    assert running.stdout
    assert running.stderr
    threads = [
        threading.Thread(target=pass_on, args=(running.stdout, call.stdout), daemon=True),
        threading.Thread(target=pass_on, args=(running.stderr, call.stderr), daemon=True),
    ]
    if running.stdin and call.stdin is not None:
        threads.append(threading.Thread(target=feed, args=(running.stdin, call.stdin), daemon=True))
    for thread in threads:
        thread.start()
    code = running.wait()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return 1 if code < 0 else code
