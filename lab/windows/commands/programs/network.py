"""curl.exe and netsh.exe.

curl.exe is the host's own curl, given the paths of the host. What System32's differs in is done here: it verifies with
Schannel, which asks whether certificates were revoked, and an authority of a network's own has no answer to that.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import urllib.parse
from collections.abc import Mapping

from lab.windows.machine.errors import NotModelled, Win32Error

from .running import Invocation, on_host

#: Options of curl without and with a value, by their short and long names; a path is a file of the machine.
FLAGS = {
    "f": "fail", "s": "silent", "S": "show-error", "L": "location", "I": "head", "k": "insecure", "v": "verbose",
    "g": "globoff", "4": "ipv4", "6": "ipv6",
}  # fmt: skip
VALUES = {
    "o": "output", "C": "continue-at", "w": "write-out", "H": "header", "r": "range", "X": "request", "m": "max-time",
    "d": "data", "x": "proxy", "D": "dump-header", "A": "user-agent", "T": "upload-file", "y": "speed-time",
    "Y": "speed-limit",
}  # fmt: skip
LONG_FLAGS = {
    *FLAGS.values(),
    "retry-connrefused",
    "retry-all-errors",
    "compressed",
    "fail-with-body",
    "no-progress-meter",
}
LONG_VALUES = {
    *VALUES.values(), "connect-timeout", "retry", "retry-delay", "retry-max-time", "noproxy", "cacert", "resolve",
    "url", "max-filesize", "data-binary", "limit-rate", "data-raw",
}  # fmt: skip
PATHS = {"output", "cacert", "dump-header", "upload-file"}
REVOCATION = {"ssl-no-revoke", "ssl-revoke-best-effort"}
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
NO_REVOCATION = (
    "curl: (35) schannel: next InitializeSecurityContext failed: CRYPT_E_NO_REVOCATION_CHECK (0x80092012) - The "
    "revocation function was unable to check revocation for the certificate."
)
WRITE_ERROR, TLS_ERROR = 23, 35
LOOK_S = 5.0


def curl(call: Invocation) -> int:
    options, urls, unchecked = _options(call)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    for name, text in call.environment.items():
        # getenv of Windows does not look at the case of a name.
        if name.lower() in PROXIES:
            environment[name.lower()] = text
    if call.shell.machine.settings.revocation and not unchecked and any(_private(url, environment) for url in urls):
        if not any(option == "--silent" for option, _ in options) or any(
            option == "--show-error" for option, _ in options
        ):
            call.complain(NO_REVOCATION)
        return TLS_ERROR
    program = shutil.which("curl")
    if program is None:
        raise NotModelled("curl.exe: the host has no curl")
    arguments = [program, "--disable"]
    limit: int | None = None
    for option, value in options:
        if value is None:
            arguments.append(option)
        elif option.removeprefix("--") in PATHS and value != "-":
            try:
                place, free = _host_path(call, value, writes=option in ("--output", "--dump-header"))
            except Win32Error as error:
                call.complain(f"curl: ({WRITE_ERROR}) Failure writing output to destination ({error.text})")
                return WRITE_ERROR
            limit = free if option == "--output" and free is not None else limit
            arguments += [option, place]
        else:
            arguments += [option, value]
    directory = str(call.shell.session.files.locate(call.directory))
    if limit is not None:
        # A drive that is declared full takes no more: curl is told that the file cannot grow.
        arguments = ["env", "--ignore-signal=XFSZ", "prlimit", f"--fsize={limit}", *arguments]
    return on_host([*arguments, "--", *urls], call, environment, directory)


def _options(call: Invocation) -> tuple[list[tuple[str, str | None]], list[str], bool]:
    """Options by their long names with values, addresses, and whether revocation is not to be looked at."""
    options: list[tuple[str, str | None]] = []
    urls: list[str] = []
    unchecked = False
    words = list(call.arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            urls += words
            break
        if word.startswith("--"):
            name = word[2:]
            if name in REVOCATION:
                unchecked = True
            elif name in LONG_FLAGS:
                options.append((word, None))
            elif name in LONG_VALUES and words:
                value = words.pop(0)
                urls.append(value) if name == "url" else options.append((word, value))
            else:
                raise NotModelled(f"curl.exe {word}")
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter in FLAGS:
                    options.append((f"--{FLAGS[letter]}", None))
                elif letter in VALUES and (letters or words):
                    options.append((f"--{VALUES[letter]}", letters or words.pop(0)))
                    break
                else:
                    raise NotModelled(f"curl.exe -{letter}")
        else:
            urls.append(word)
    return options, urls, unchecked


def _host_path(call: Invocation, path: str, *, writes: bool) -> tuple[str, int | None]:
    """The host's path, and how large the file may become where the drive says how much is free."""
    if path.lower() == "nul":
        return "/dev/null", None
    files = call.shell.session.files
    full = files.full(path)
    if not writes:
        return str(files.entry(full).host), None
    above = files.entry(full.parent)
    files.access(above.path, 2)
    files.check_writable(full)
    volume = call.shell.machine.volumes.get(full.drive)
    size = files.entry(full).size if files.exists(full) else 0
    return str(files.locate(full)), None if volume.free is None else size + volume.free


def _private(url: str, environment: Mapping[str, str]) -> bool:
    """Whether a certificate would be looked at that nobody can ask about: the server answers with TLS, and its
    authority is trusted. Where it does not get so far, curl itself says why."""
    parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "https" or not parts.hostname:
        return False
    if environment.get("https_proxy") and parts.hostname not in environment.get("no_proxy", "").split(","):
        proxy = urllib.parse.urlsplit(environment["https_proxy"])
        return _answers(proxy.hostname or "", proxy.port or 1080)
    try:
        with socket.create_connection((parts.hostname, parts.port or 443), LOOK_S) as plain:
            context = ssl.create_default_context()
            with context.wrap_socket(plain, server_hostname=parts.hostname):
                return True
    except OSError:
        return False


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), LOOK_S).close()
    except OSError:
        return False
    return True


def netsh(call: Invocation) -> int:
    words = [word.lower() for word in call.arguments]
    if not re.fullmatch(r"int(erface)? ipv4 show excludedportrange (protocol=)?tcp", " ".join(words)):
        raise NotModelled(f"netsh.exe {call.text}")
    if call.chinese:
        head = ["", "协议 tcp 端口排除范围", "", "开始端口    结束端口      ", "----------    --------      "]
        foot = ["", "* - 管理的端口排除。", ""]
    else:
        head = [
            "",
            "Protocol tcp Port Exclusion Ranges",
            "",
            "Start Port    End Port      ",
            "----------    --------      ",
        ]
        foot = ["", "* - Administered port exclusions.", ""]
    rows = [
        f"{entry.first:>10}  {entry.last:>10}{'     *' if entry.administered else '      '}"
        for entry in call.shell.machine.network.excluded()
    ]
    for line in (*head, *rows, *foot):
        call.say(line)
    return 0
