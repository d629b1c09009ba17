"""From corral's command line to the arguments of powershell.exe, through each shell that sshd may put in between.

The rules, and where they are written:
- sshd: do_exec_windows() in contrib/win32/win32compat/w32-doexec.c and build_commandline_string() in misc.c beside it
  (PowerShell/openssh-portable): cmd gets `"SHELL" /c "COMMAND"` as it is, PowerShell and bash get an argument that is
  put in quotes where it holds a space and does not begin with a single quote, with backslashes before quotes.
- cmd: `cmd /?`: with /c, and unless the quotes surround an executable's name, the first and the last quote go, the
  rest is a command line, at most 8,191 characters long.
- programs: CommandLineToArgvW (learn.microsoft.com): 2n backslashes before a quote are n, and the quote is one.
- PowerShell -c: about_Parsing (learn.microsoft.com): a word is taken as it is unless it has one of its own signs in it.
- bash -c: the POSIX shell's words.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.windows import powershell
from tests.windows_request import Received, received

CMD = r"c:\windows\system32\cmd.exe"
POWERSHELL = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
BASH = r"C:\Program Files\Git\bin\bash.exe"
#: What a command line of cmd's may not hold lest cmd does something about it.
CMD_SIGNS = set('&|<>^()%!"\r\n')
#: What ends or changes a word in PowerShell, in any script: quotes and dashes have relatives beyond ASCII.
POWERSHELL_SIGNS = set("`$\"'(){};|&<>@#, \t\r\n\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u2013\u2014\u2015")


def from_sshd(shell: str, command: str) -> str:
    """The command line that sshd hands to CreateProcess (do_exec_windows without a terminal)."""
    if "system32\\cmd" in shell:
        return f'"{shell}" /c "{command}"'
    argument = re.sub(r'(\\*)"', lambda found: found[1] * 2 + '\\"', command)
    if " " in command and not command.startswith("'"):
        argument = f'"{argument}"'
    return f'"{shell}" -c {argument}'


def arguments(line: str) -> list[str]:
    """CommandLineToArgvW."""
    program = re.match(r'"([^"]*)"|(\S*)', line)
    assert program
    found, current, quoted, begun = [program[1] or program[2] or ""], "", False, False
    position = program.end()
    while position < len(line):
        sign = line[position]
        if sign == "\\":
            end = position
            while end < len(line) and line[end] == "\\":
                end += 1
            slashes = end - position
            if line[end : end + 1] == '"':
                current += "\\" * (slashes // 2)
                if slashes % 2:
                    current += '"'
                    end += 1
            else:
                current += "\\" * slashes
            begun, position = True, end
            continue
        if sign == '"':
            if quoted and line[position + 1 : position + 2] == '"':
                current += '"'
                position += 1
            else:
                quoted = not quoted
            begun = True
        elif sign in " \t" and not quoted:
            if begun:
                found.append(current)
            current, begun = "", False
        else:
            current += sign
            begun = True
        position += 1
    return [*found, current] if begun else found


def through_cmd(line: str) -> list[str]:
    assert len(line) <= powershell.CMD_LIMIT
    command = line.partition(" /c ")[2]
    assert command[0] == command[-1] == '"'
    assert not CMD_SIGNS & set(command[1:-1])
    return arguments(command[1:-1])


def through_powershell(line: str) -> list[str]:
    shell, option, *rest = arguments(line)
    assert (shell, option) == (POWERSHELL, "-c")
    words = " ".join(rest).split(" ")
    for word in words:
        assert not POWERSHELL_SIGNS & set(word)
        assert not re.fullmatch(r"[-+]?(0x[0-9a-f]+|[\d.]+(e[-+]?\d+)?)[dl]?[kmgtp]?b?", word, re.IGNORECASE)
    return words


def through_bash(line: str) -> list[str]:
    shell, option, script = arguments(line)
    assert (shell, option) == (BASH, "-c")
    assert not set("$`\\!*?[]{}~#&|;<>()'\"\n") & set(script)
    return shlex.split(script)


EXPECTED = [
    "powershell.exe",
    "-NoProfile",
    "-NonInteractive",
    "-ExecutionPolicy",
    "Bypass",
    "-InputFormat",
    "None",
    "-EncodedCommand",
]


@pytest.mark.parametrize(
    ("shell", "through"), [(CMD, through_cmd), (POWERSHELL, through_powershell), (BASH, through_bash)]
)
def test_powershell_gets_the_same_arguments_whatever_the_default_shell(
    shell: str, through: Callable[[str], list[str]]
) -> None:
    *options, encoded = through(from_sshd(shell, powershell.COMMAND))
    assert options == EXPECTED
    text = base64.b64decode(encoded, validate=True).decode("utf-16-le")
    assert powershell.command_line(text) == powershell.COMMAND


def test_the_bootstrap_leaves_room_within_cmds_limit() -> None:
    assert len(base64.b64decode(powershell.COMMAND.split()[-1])) // 2 <= 2870
    assert len(from_sshd(CMD, powershell.COMMAND)) < powershell.CMD_LIMIT - 300


def test_what_is_sent_of_the_bootstrap_is_its_code_alone() -> None:
    text = base64.b64decode(powershell.COMMAND.split()[-1]).decode("utf-16-le")
    assert text.isascii()
    lines = text.splitlines()
    assert lines[0] == "$ErrorActionPreference = 'Stop'"
    assert all(line and line == line.strip() and not line.startswith("#") for line in lines)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_an_argument_of_sshds_making_comes_back_from_commandlinetoargvw(command: str) -> None:
    """The model of one rule against that of the other; corral's own command line holds nothing that needs them."""
    if (" " not in command and re.search(r"[\s]", command)) or command.startswith("'") or command.endswith("\\"):
        return  # there sshd's rule is too simple; no command of corral's is so
    assert arguments(from_sshd(POWERSHELL, command))[2:] == [command]


@given(st.text(st.characters(max_codepoint=127), min_size=1, max_size=2000))
def test_any_bootstrap_would_pass_all_shells(text: str) -> None:
    line = powershell.command_line(text)
    assert through_cmd(from_sshd(CMD, line)) == through_bash(from_sshd(BASH, line))
    assert through_bash(from_sshd(BASH, line))[:-1] == EXPECTED


# --- What travels over standard input --------------------------------------------------------------------------------


#: With what breaks quoting by hand: PowerShell takes U+2018 to U+201B for single quotes.
HOSTILE = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("'\"`$();|&<>%^!\\\r\n\t\0\x1b\u2018\u2019\u201a\u201b\u201c\u201d\ufeff\u2028😀模"),
    )
)


@given(
    script=HOSTILE,
    parameters=st.dictionaries(
        HOSTILE, st.one_of(HOSTILE, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.lists(HOSTILE)), max_size=4
    ),
    directory=HOSTILE.filter(bool),
)
def test_any_script_and_any_value_arrives_unchanged(
    script: str, parameters: dict[str, powershell.Value], directory: str
) -> None:
    found = received(powershell.request(script, parameters=parameters, directory=directory))
    assert found == Received(script, directory, {}, parameters)


@given(st.dictionaries(HOSTILE.filter(lambda name: name and not set("=\0") & set(name)), HOSTILE, max_size=4))
def test_any_environment_arrives_unchanged(environment: dict[str, str]) -> None:
    environment = {name: value.replace("\0", "") for name, value in environment.items()}
    assert received(powershell.request("", environment=environment)).environment == environment
