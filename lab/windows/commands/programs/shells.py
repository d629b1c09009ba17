"""cmd.exe, as far as `cmd.exe /c COMMAND` goes: one program with redirections, exit, echo, and files of commands.

Sources: `cmd /?` (the rule about quotes behind /c), Microsoft, "Command line string limitation".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from lab.windows.machine.environment import expand
from lab.windows.machine.errors import NotModelled, Win32Error
from lab.windows.machine.files import FileSystem, Mode, OpenFile
from lab.windows.machine.handles import Use
from lab.windows.machine.launch import SYSTEM32, arguments_of, find_program
from lab.windows.machine.paths import FullPath, full_path

from .running import Invocation, Program, started

LIMIT = 8191
TOO_LONG = "The command line is too long."
#: Where a command ends, outside of quotes.
SPECIAL = re.compile(r"[&|<>()@^]")
REDIRECTION = re.compile(r'(?<!\S)([012]?)(>>|>|<)\s*(&1|&2|"[^"]*"|[^\s&|<>]+)')


def cmd(call: Invocation, run: Program) -> int:
    """`run` runs the programs that it starts."""
    text = call.text.strip()
    match = re.match(r"^((?:/[dsq]\s+)*)/c\s*(.*)$", text, re.I | re.S)
    if not match:
        raise NotModelled(f"cmd.exe {text}")
    if len(text) + len('"cmd.exe" ') > LIMIT:
        call.complain(TOO_LONG)
        return 1
    return run_line(call, _unquoted(match[2], "/s" in match[1].lower()), run)


def run_line(call: Invocation, line: str, run: Program) -> int:
    """One line of commands, joined by && or &."""
    line = expand(line, call.environment)
    if "^" in line or re.search(r"(?<![|])\|", _outside_quotes(line)) or re.search(r"[()]", _outside_quotes(line)):
        raise NotModelled(f"cmd.exe: {line}")
    code = 0
    for operator, command in _commands(line):
        if (operator == "&&" and code) or (operator == "||" and not code):
            continue
        code = _command(call, command.strip(), run)
    return code


def _unquoted(text: str, strip: bool) -> str:
    """The quotes around a whole command go, unless they are just those around a program's name."""
    text = text.strip()
    if not text.startswith('"'):
        return text
    only_two = text.count('"') == 2
    inside = text[1 : text.rindex('"')]
    if not strip and only_two and not SPECIAL.search(inside) and inside.lower().endswith((".exe", ".cmd", ".bat")):
        return text
    end = text.rindex('"')
    return text[1:end] + text[end + 1 :]


def _outside_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', lambda match: "_" * len(match[0]), line)


def _commands(line: str) -> list[tuple[str, str]]:
    masked = _outside_quotes(line)
    found: list[tuple[str, str]] = []
    operator, start = "", 0
    for match in re.finditer(r"&&|\|\||(?<![<>])&(?![12])", masked):
        found.append((operator, line[start : match.start()]))
        operator, start = match[0], match.end()
    found.append((operator, line[start:]))
    return found


def _command(call: Invocation, command: str, run: Program) -> int:
    opened: list[OpenFile] = []
    sinks: dict[str, Callable[[bytes], None]] = {"1": call.stdout, "2": call.stderr}
    stdin = call.stdin
    files = call.shell.session.files
    masked = _outside_quotes(command)
    rest: list[str] = []
    position = 0
    try:
        for match in REDIRECTION.finditer(command):
            if masked[match.start(2)] == "_":
                continue
            rest.append(command[position : match.start()])
            position = match.end()
            place = match[3].strip('"')
            if match[2] == "<":
                stdin = b"" if place.lower() == "nul" else files.read_shared(place)
            elif place in ("&1", "&2"):
                sinks[match[1] or "1"] = sinks[place[1]]
            elif place.lower() == "nul":
                sinks[match[1] or "1"] = lambda data: None
            else:
                # Source: ReactOS' and Windows' cmd open the file for themselves alone to write, readers may look.
                mode = Mode.Append if match[2] == ">>" else Mode.Create
                if mode is Mode.Append and not files.exists(place):
                    mode = Mode.Create
                file = files.open(place, mode, Use.WRITE, Use.READ)
                opened.append(file)
                sinks[match[1] or "1"] = file.write
        rest.append(command[position:])
        inner = replace(call, stdout=sinks["1"], stderr=sinks["2"], stdin=stdin)
        return _plain(inner, "".join(rest).strip(), run)
    except Win32Error as error:
        call.complain(error.text)
        return 1
    finally:
        for file in opened:
            file.close()


def _plain(call: Invocation, command: str, run: Program) -> int:
    command = command.lstrip("@").strip()
    match = re.match(r'^"([^"]+)"\s*(.*)$|^(\S+)\s*(.*)$', command, re.S)
    if not match:
        return 0
    name, text = (match[1], match[2]) if match[1] is not None else (match[3], match[4])
    word = name.lower()
    if word == "exit":
        number = text.lower().removeprefix("/b").strip()
        return int(number) % 2**32 if number else 0
    if word == "echo" or word.startswith("echo."):
        call.say(command[5:] if word == "echo" else command[len("echo.") :])
        return 0
    if word == "rem":
        return 0
    if word == "ver":
        build = call.shell.machine.system.registry.value(
            r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "CurrentBuildNumber"
        )
        call.say("")
        call.say(f"Microsoft Windows [Version 10.0.{str(build.data) if build else ''}]")
        return 0
    if word in (
        "cd",
        "dir",
        "set",
        "type",
        "copy",
        "del",
        "mkdir",
        "md",
        "rd",
        "rmdir",
        "move",
        "ren",
        "start",
        "call",
        "if",
        "for",
    ):
        raise NotModelled(f"cmd.exe: {command}")
    files = call.shell.session.files
    script = find_script(files, name, call.environment, here=True)
    if script is not None:
        return run_script(call, script, text)
    try:
        program = find_program(files, name, call.environment)
    except Win32Error:
        if call.chinese:
            call.complain(f"'{name}' 不是内部或外部命令，也不是可运行的程序")  # noqa: RUF001
            call.complain("或批处理文件。")
        else:
            call.complain(f"'{name}' is not recognized as an internal or external command,")
            call.complain("operable program or batch file.")
        return 1
    return run(replace(call, program=program, arguments=arguments_of(text), text=text))


def run_script(call: Invocation, script: FullPath, text: str) -> int:
    """Runs a .cmd or .bat file: by Wine's own cmd.exe, which is a real one."""
    cmd_exe = full_path(rf"{SYSTEM32}\cmd.exe", "C:\\")
    return started(replace(call, program=cmd_exe, text=f'/c ""{script}" {text}"'), wine=True)


def find_script(files: FileSystem, name: str, environment: Mapping[str, str], *, here: bool) -> FullPath | None:
    """A .cmd or .bat file of that name, by its path or in Path; an .exe beside it comes first.

    `here`: in the current directory before Path, as cmd.exe looks and PowerShell does not.
    """
    block = {key.lower(): value for key, value in environment.items()}
    places = [part for part in block.get("path", "").split(";") if part.strip()]
    if "\\" in name or "/" in name:
        places = [""]
    elif here:
        places.insert(0, "")
    for place in places:
        for ending in ("", ".com", ".exe", ".bat", ".cmd"):
            path = f"{place.strip(chr(34)).rstrip(chr(92))}\\{name}{ending}" if place else f"{name}{ending}"
            try:
                found = files.find(path)
            except (Win32Error, NotModelled):
                continue
            if found and not found.is_directory:
                lower = found.path.name.lower()
                if lower.endswith((".cmd", ".bat")):
                    return found.path
                if lower.endswith((".exe", ".com")):
                    return None
    return None
