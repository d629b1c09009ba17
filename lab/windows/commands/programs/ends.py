"""taskkill.exe and shutdown.exe. Sources: Microsoft's documentation of both; messages as they print them."""

from __future__ import annotations

from lab.windows.machine.errors import NotModelled
from lab.windows.machine.identity import ADMINISTRATORS
from lab.windows.machine.processes import Process

from ..processes import may_end
from ..support import wildcard
from .running import Invocation

SHUTDOWN = "shutdown"
#: taskkill.exe: nothing with that number or name.
NOT_FOUND = 128
#: Errors of winerror.h that shutdown.exe ends with.
DENIED, IN_PROGRESS, NOT_IN_PROGRESS, USAGE = 5, 1115, 1116, 1


def taskkill(call: Invocation) -> int:
    force = tree = False
    pids: list[str] = []
    images: list[str] = []
    words = list(call.arguments)
    while words:
        word = words.pop(0).lower()
        if word == "/f":
            force = True
        elif word == "/t":
            tree = True
        elif word in ("/pid", "/im") and words:
            (pids if word == "/pid" else images).append(words.pop(0))
        else:
            raise NotModelled(f"taskkill.exe {word}")
    machine = call.shell.machine
    everything = {process.pid: process for process in machine.processes.all()}
    chosen: list[Process] = []
    code = 0
    for text in pids:
        found = everything.get(int(text)) if text.isdigit() else None
        if found is None:
            code = _not_found(call, text)
        else:
            chosen.append(found)
    for text in images:
        hits = [process for process in everything.values() if wildcard(text).match(process.name)]
        if not hits:
            code = _not_found(call, text)
        chosen += hits
    for process in chosen:
        doomed = machine.processes.tree(process.pid) if tree else [process.pid]
        # Its own shell last, for nothing is said after that.
        for pid in sorted(doomed, key=lambda pid: pid == call.shell.pid):
            seen = everything.get(pid)
            if seen is None:
                continue
            if not force:
                # A console program does not listen to the message that a window would get.
                call.complain(f"ERROR: The process with PID {pid} could not be terminated.")
                call.complain("Reason: This process can only be terminated forcefully (with /F option).")
                code = 1
            elif not may_end(call.shell, seen) or pid == 4:
                call.complain(f"ERROR: The process with PID {pid} could not be terminated.")
                call.complain("Reason: Access is denied.")
                code = 1
            else:
                if call.chinese:
                    call.say(f"成功: 已终止 PID 为 {pid} 的进程。")
                else:
                    call.say(f"SUCCESS: The process with PID {pid} has been terminated.")
                machine.processes.kill(pid)
    return code


def _not_found(call: Invocation, text: str) -> int:
    call.complain(f'ERROR: The process "{text}" not found.' if not call.chinese else f'错误: 没有找到进程 "{text}"。')
    return NOT_FOUND


def shutdown(call: Invocation) -> int:
    machine = call.shell.machine
    restart = abort = False
    seconds = 30
    words = list(call.arguments)
    while words:
        word = words.pop(0).lower()
        word = "/" + word[1:] if word.startswith("-") else word
        if word == "/r":
            restart = True
        elif word == "/a":
            abort = True
        elif word == "/f":
            continue
        elif word in ("/t", "/d", "/c") and words:
            value = words.pop(0)
            if word == "/t":
                if not value.isdigit() or int(value) > 315360000:
                    return _usage(call)
                seconds = int(value)
        else:
            raise NotModelled(f"shutdown.exe {word}")
    if ADMINISTRATORS not in call.shell.session.identity.groups:
        call.complain("Access is denied.(5)" if not call.chinese else "拒绝访问。(5)")
        return DENIED
    with machine.store.change(SHUTDOWN) as document:
        pending = document.get("boot") == round(machine.host.boot_time())
        if abort:
            if not pending:
                call.complain("Unable to abort the system shutdown because no shutdown was in progress.(1116)")
                return NOT_IN_PROGRESS
            machine.host.cancel_reboot()
            document.clear()
            return 0
        if not restart:
            return _usage(call)
        if pending:
            call.complain("A system shutdown is in progress.(1115)")
            return IN_PROGRESS
        document["boot"] = round(machine.host.boot_time())
    machine.host.reboot(seconds)
    return 0


def _usage(call: Invocation) -> int:
    call.complain("Usage: shutdown [/i | /l | /s | /sg | /r | /g | /a | /p | /h | /e | /o] [/hybrid] ...")
    return USAGE
