"""pyinfra's ssh connector, with a remedy for each way in which a connection fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector


class RemedySshConnector(SSHConnector):
    """`@corral/NAME` is pyinfra's `@ssh/NAME` but for its error sentences, and is shown as NAME."""

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """One host, whose name is its address unless ssh_hostname says otherwise."""
        yield name, {"ssh_hostname": name}, []

    def connect(self) -> None:
        """Raises ConnectError with what was found, which key it concerns and what to do."""
        try:
            super().connect()
        except ConnectError as error:
            raise ConnectError(explain(str(error), self._login())) from error

    def _login(self) -> str:
        user = self.data["ssh_user"]
        address = self.data["ssh_hostname"] or self.host.name
        port = self.data["ssh_port"]
        return (f"{user}@" if user else "") + str(address) + (f" -p {port}" if port not in (None, 22) else "")


def explain(error: str, login: str) -> str:
    """pyinfra's sentence about a failed connection, and the remedy for it.

    login: user, address and port as the ssh command takes them.
    """
    if "Authentication" in error:
        remedy = (
            f"The host does not take this user's key or password: correct ssh_user, ssh_key or ssh_password, "
            f"or run ssh-copy-id {login}"
        )
    elif "host key" in error.lower():
        remedy = f"If the host was installed anew, run ssh-keygen -R {login.rpartition('@')[2].split()[0]}"
    elif "resolve" in error:
        remedy = "Correct address in the inventory, or your DNS"
    else:
        remedy = f"Is it on and sshd running, are address and ssh_port right in the inventory? Try: ssh {login} true"
    return f"{error.rstrip('.')}. {remedy}."
