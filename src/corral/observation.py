"""A host as it shows itself, for tests of its state: asked by other ways than those that a deploy asks by.

What corral has declared is in testing.Machine; what is here knows nothing of it but where to look.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

from corral import layout, layout_windows
from corral.errors import CorralError
from corral.remote import Remote
from corral.scripts import Script


class Observation(Protocol):
    """One boot of one host."""

    def release(self) -> str:
        """The directory of the release that the command `ollama` leads to; "" for none."""
        ...

    def stamp(self, release: str) -> str:
        """What a release's directory says that it was unpacked from."""
        ...

    def enabled_at_boot(self) -> bool: ...

    def running(self) -> bool: ...

    def definition(self, part: str) -> list[str]:
        """What the system is told to run, line by line: one of the parts that testing.Machine.definition has."""
        ...

    def program(self) -> str:
        """The program that the server's process runs. Raises CorralError where none runs."""
        ...

    def user(self) -> str:
        """Whose rights that process has."""
        ...

    def environment(self, names: Iterable[str]) -> dict[str, str]:
        """Of the environment that the server was started with, these variables, as far as they are there."""
        ...

    def secret_digest(self, name: str) -> str:
        """SHA-256 in hex of the line NAME=VALUE of a secret that the server was started with."""
        ...

    def secrets(self) -> tuple[str, bool]:
        """SHA-256 in hex of the file with secrets, "" for none, and whether it is for administrators alone."""
        ...

    def listens(self) -> set[str]:
        """Where the server's process listens: address:port, with * for all addresses."""
        ...

    def gpus(self) -> list[str]:
        """The names of the GPUs, as their driver's own program or the system has them."""
        ...

    def text(self, path: str) -> str:
        """A file's text. Raises CorralError where there is none."""
        ...


class LinuxObservation:
    """By testinfra's modules, over ssh, as root. host: testinfra's host."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def release(self) -> str:
        if self._host.run("command -v ollama").stdout.strip() != layout.COMMAND:
            return ""
        return str(self._host.file(layout.COMMAND).linked_to).removesuffix("/bin/ollama")

    def stamp(self, release: str) -> str:
        return self.text(f"{release}/{layout.STAMP}").strip()

    def enabled_at_boot(self) -> bool:
        return bool(self._host.service(layout.SERVICE).is_enabled)

    def running(self) -> bool:
        return bool(self._host.service(layout.SERVICE).is_running)

    def definition(self, part: str) -> list[str]:
        properties = self._host.service(layout.SERVICE).systemd_properties
        if part == "unit":
            return [str(properties.get("FragmentPath")), *self.text(layout.UNIT).splitlines()]
        if part == "drop-in":
            return self.text(layout.DROP_IN).splitlines()
        return [f"to be read again: {properties.get('NeedDaemonReload')}"]

    def program(self) -> str:
        return str(self._host.file(f"/proc/{self._pid}/exe").linked_to)

    def user(self) -> str:
        return str(self._host.file(f"/proc/{self._pid}").user)

    def environment(self, names: Iterable[str]) -> dict[str, str]:
        # Only what is asked for and public: nothing else may show in a report.
        pattern = f"^({'|'.join(names)})="
        found = self._host.run("tr '\\0' '\\n' < /proc/%s/environ | grep -E %s", self._pid, pattern).stdout
        return dict(line.partition("=")[::2] for line in found.splitlines())

    def secret_digest(self, name: str) -> str:
        seen = self._host.check_output(
            "tr '\\0' '\\n' < /proc/%s/environ | grep %s | sha256sum", self._pid, f"^{name}="
        )
        return str(seen).split()[0]

    def secrets(self) -> tuple[str, bool]:
        file = self._host.file(layout.SECRETS)
        return (str(file.sha256sum), (file.user, file.mode) == ("root", 0o600)) if file.exists else ("", True)

    def listens(self) -> set[str]:
        lines = self._host.check_output("ss -Hltnp").splitlines()
        return {any_address(line.split()[3]) for line in lines if f"pid={self._pid}," in line}

    def gpus(self) -> list[str]:
        vendors = self._host.run("cat /sys/class/drm/card*/device/vendor").stdout.split()
        smi = self._host.run("nvidia-smi --query-gpu=name --format=csv,noheader")
        return [*smi.stdout.splitlines(), *("AMD" for vendor in vendors if vendor == "0x1002")]

    def text(self, path: str) -> str:
        file = self._host.file(path)
        if not file.exists:
            raise CorralError(f"{path} is not there", "Run deploys/r1.py")
        return str(file.content_string)

    @property
    def _pid(self) -> str:
        pid = self._host.service(layout.SERVICE).systemd_properties.get("MainPID", "0")
        if pid == "0":
            raise CorralError(f"{layout.SERVICE} is not running", f"See systemctl status {layout.SERVICE} on the host")
        return str(pid)


class WindowsObservation:
    """By PowerShell's cmdlets for processes, connections, files and tasks."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    @cached_property
    def _found(self) -> Mapping[str, Any]:
        variables = {
            "Programs": layout_windows.PROGRAMS,
            "Started": layout_windows.STARTED,
            "Secrets": layout_windows.SECRETS,
            "TaskPath": layout_windows.TASK_PATH,
            "TaskName": layout_windows.TASK_NAME,
            "Start": layout_windows.START,
        }
        found: dict[str, Any] = json.loads(self._remote.run(Script("observation.ps1", variables))["result"])
        return found

    def release(self) -> str:
        return str(self._found["release"])

    def stamp(self, release: str) -> str:
        return self.text(rf"{release}\{layout_windows.STAMP}").strip()

    def enabled_at_boot(self) -> bool:
        found = self._found["task"]
        return bool(found["enabled"]) and bool(found["boot"])

    def running(self) -> bool:
        return self._found["task"]["state"] == "Running" and bool(self._found["server"])

    def definition(self, part: str) -> list[str]:
        found = self._found["task"]
        if part == "task":
            return [found["command"], found["arguments"], self.user()]
        return list(map(str, self._found["start"].splitlines()))

    def program(self) -> str:
        return str(self._server["path"])

    def user(self) -> str:
        user = str(self._found["task"]["user"])
        return next((name for name, sid in layout_windows.SIDS.items() if sid == user), user)

    def environment(self, names: Iterable[str]) -> dict[str, str]:
        """Windows shows no process's environment to others: what the start script notes that it has given."""
        noted = json.loads(self._found["started"] or '{"pid": 0}')
        if noted["pid"] != self._server["pid"]:
            raise CorralError("the server that runs was not started by the task", "Run deploys/r1.py")
        wanted = set(names)
        return {name: value for name, value in noted["environment"].items() if name in wanted}

    def secret_digest(self, name: str) -> str:
        lines = [line for line in self._found["secret_lines"] if line["name"] == name]
        return str(lines[0]["digest"]) if lines else ""

    def secrets(self) -> tuple[str, bool]:
        return str(self._found["secrets_digest"]), set(self._found["secrets_for"]) <= {"S-1-5-18", "S-1-5-32-544"}

    def listens(self) -> set[str]:
        return {any_address(address) for address in self._server["listens"]}

    def gpus(self) -> list[str]:
        return [str(name) for name in self._found["gpus"]]

    def text(self, path: str) -> str:
        answer = self._remote.run(Script("read_file.ps1", {"Path": path}))
        if "text" not in answer:
            raise CorralError(f"{path} is not there", "Run deploys/r1.py")
        return answer["text"].replace("\r\n", "\n")

    @property
    def _server(self) -> Mapping[str, Any]:
        server: Mapping[str, Any] | None = self._found["server"]
        if not server:
            raise CorralError(
                f"the server of {layout_windows.TASK} is not running", f"See {layout_windows.LOG} on the host"
            )
        return server


def any_address(local: str) -> str:
    """A listener's address, all addresses of the host as *: however a program listens on every one of them."""
    return re.sub(r"^(0\.0\.0\.0|\[?::\]?|\*):", "*:", local)


def sha256(text: str) -> str:
    """Of a text in UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
