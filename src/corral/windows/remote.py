"""A Windows host's connection: corral's scripts in PowerShell over ssh, and TCP connections made from there."""

from __future__ import annotations

from collections.abc import Iterator

from corral.errors import CorralError
from corral.remote import Link, Remote, Running, Stream, Sudo
from corral.scripts import Script
from corral.windows import powershell
from corral.windows.clixml import decode


class WindowsRemote(Remote):
    """As Remote. Whoever logs in must be an administrator; there is nothing like sudo, and no need for it: sshd logs
    them in with their full rights (PowerShell/Win32-OpenSSH issues 84 and 1713)."""

    def __init__(self, link: Link) -> None:
        super().__init__(link, Sudo())

    def start(self, script: Script) -> Running:
        channel = self._link.open(powershell.COMMAND)
        channel.send(
            powershell.request(
                powershell.assemble(script.files()),
                name=script.path,
                parameters=script.variables,
                limit_s=script.limit_s,
                environment={"CORRAL_RUN": self.run_directory} if self.run_directory else {},
            )
        )
        return Running(channel, script.path, PowerShellAnswer(script.path))

    def dial(self, address: str, port: int, timeout_s: float) -> Stream:
        try:
            return super().dial(address, port, timeout_s)
        except PermissionError as refused:
            raise CorralError(
                "sshd on the host forbids TCP forwarding, which corral talks to Ollama by",
                r"Take AllowTcpForwarding no out of C:\ProgramData\ssh\sshd_config and run Restart-Service sshd there",
            ) from refused


class PowerShellAnswer:
    """See remote.Answer. What a script prints besides is nobody's."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._answer = powershell.Answer()

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        for event in self._answer.feed(data):
            if isinstance(event, powershell.Emitted):
                yield event.name, event.text
            elif isinstance(event, powershell.Progress):
                yield "@progress", event.text

    def check(self, exit_code: int, errors: bytes) -> None:
        self._answer.close()
        self._answer.check(self._what, exit_code, decode(errors))
