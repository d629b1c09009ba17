"""One running instance of a task: a process of the host that starts the task's program and waits for it."""

from __future__ import annotations

import os
import subprocess
import time

from .environment import expand
from .errors import Win32Error
from .launch import find_program, quoted
from .machine import Machine
from .tasks import TERMINATED, Registered
from .taskxml import Action

#: Where a program starts whose task names no directory.
DIRECTORY = r"C:\Windows\System32"


def run(machine: Machine, path: str, mark: str) -> None:
    """Runs an instance to its end and notes what became of it."""
    tasks = machine.system.tasks
    tasks.update(path, mark, supervisor=os.getpid())
    folder, _, name = path.rpartition("\\")
    found = tasks.get(folder + "\\", name)
    settings = found.definition.settings
    result = 0
    for action in found.definition.actions:
        left = settings.restart_count
        while True:
            started, result = _once(machine, found, action, mark)
            # An action that ran is a success whatever it ended with: [MS-TSCH] 2.5.4.2, only one that could not start
            # is a failure.
            if started or not left or tasks.instance(path, mark) is None:
                break
            left -= 1
            time.sleep(settings.restart_interval_s or 0)
    tasks.ended(path, mark, result)


def _once(machine: Machine, found: Registered, action: Action, mark: str) -> tuple[bool, int]:
    """Whether the action's program could be started, and its exit code or the error's HRESULT."""
    principal = found.definition.principal
    identity = machine.accounts.identity(principal.user_id)
    session = machine.session(identity)
    environment = machine.task_environment(identity)
    directory = expand(action.directory, environment) or DIRECTORY
    tasks = machine.system.tasks
    try:
        session.files.current = directory
        program = find_program(session.files, expand(action.command, environment).strip('"'), environment)
        process = session.launcher().start(
            program,
            f"{quoted(str(program))} {expand(action.arguments, environment)}".strip(),
            identity,
            environment,
            directory,
            os.getpid(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except Win32Error as error:
        return False, error.hresult
    tasks.update(found.path, mark, process=process.pid)
    if tasks.instance(found.path, mark) is None:
        # It was stopped before its process was known.
        process.kill()
    limit = found.definition.settings.execution_time_limit_s or None
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True, TERMINATED
    return True, code
