"""Runs one command line of Windows as a process of the machine, with this process's standard streams.

    python3 -m lab.windows.commands [--account SID] [--directory PATH] [--parent PID] [--limited] -- COMMAND-LINE

The account is that of the user who logs on over ssh unless another is given, the environment that of a new log-on
unless the variable STAND_IN_ENVIRONMENT has one as JSON. powershell.exe and the programs that the stand-in models run
here, any other under Wine. The exit code is the program's, as far as Linux can carry it: its lowest 8 bits.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lab.windows.machine.environment import Block
from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.launch import ENVIRONMENT, POWERSHELL, arguments_of, find_program, split_program
from lab.windows.machine.machine import STATE

from . import Shell, make_engine
from .launcher import host_machine
from .programs.models import run_program
from .programs.running import Invocation

#: What cmd.exe ends with for a command that it does not know; here for one that cannot be started.
NOT_STARTED = 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab.windows.commands", description=__doc__)
    parser.add_argument("--state", type=Path, default=STATE)
    parser.add_argument("--account", help="SID of the account; the user's own without it")
    parser.add_argument("--limited", action="store_true", help="the user is no administrator, or not elevated")
    parser.add_argument("--directory", help="current directory; the account's profile without it")
    parser.add_argument("--parent", type=int, default=4)
    parser.add_argument("--code-file", type=Path, help="where to write the exit code, all 32 bits of it")
    parser.add_argument("command_line")
    given = parser.parse_args(arguments)
    code = _run(given)
    if given.code_file:
        given.code_file.write_text(str(code % 2**32))
    return code & 0xFF


def _run(given: argparse.Namespace) -> int:
    machine = host_machine(given.state)
    account = given.account or machine.accounts.user_sid
    administrator = machine.settings.administrator and not given.limited
    session = machine.session(machine.accounts.identity(account, administrator=administrator))
    environment = Block(json.loads(os.environ[ENVIRONMENT])) if ENVIRONMENT in os.environ else session.environment()
    directory = given.directory or session.identity.profile
    name, text = split_program(given.command_line)
    try:
        with session.files.at(directory):
            program = find_program(session.files, name, environment)
    except Win32Error as error:
        print(f"{name}: {error.text}", file=sys.stderr)
        return NOT_STARTED
    machine.processes.register(os.getpid(), str(program), given.command_line, session.identity, given.parent)
    shell = Shell(session, os.getpid(), directory, environment)
    if program.key == POWERSHELL.lower():
        return make_engine(shell, sys.stdin.buffer, sys.stdout.buffer, sys.stderr.buffer).run_command_line(text)
    call = Invocation(
        shell, program, arguments_of(text), text, None, environment, directory, _writer(1), _writer(2)
    )  # fmt: skip
    try:
        with session.files.at(directory):
            return run_program(call)
    except NotModelled as error:
        print(f"the stand-in does not know: {error}", file=sys.stderr)
        return NOT_STARTED


def _writer(descriptor: int) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return write


if __name__ == "__main__":
    sys.exit(main())
