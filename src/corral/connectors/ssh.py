"""pyinfra's ssh connector, with a remedy for each way in which a connection fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paramiko import BadHostKeyException
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import get_ssh_config

#: Paramiko's words where it has neither key nor password to try, and what to do then.
NOTHING_TO_TRY = "No authentication methods"
GIVE_A_KEY = "There is nothing to log in with: declare ssh_key or ssh_password, or add a key to the ssh-agent (ssh-add)"


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
            raise ConnectError(self._said(str(error))) from error
        except AttributeError as error:
            # Where a jump host's key has changed pyinfra looks at settings that it has not read yet.
            if not isinstance(error.__context__, BadHostKeyException):
                raise
            raise ConnectError(self._said(str(error.__context__))) from error

    def _said(self, error: str) -> str:
        if jump := self._failed_at():
            return (
                f"{error.rstrip('.')}. That was at the jump host {jump}, or on the way from there. "
                f"First of all this has to work: ssh -J {jump} {self._login()} exit."
            )
        return self._explain(error, self._login())

    def _failed_at(self) -> str:
        """The jump hosts in ssh's configuration, where one of them failed; "" where the host itself did.

        pyinfra's client has its settings once all jump hosts are connected to (parse_config in pyinfra's
        connectors/sshuserclient/client.py).
        """
        configuration = get_ssh_config(self.data["ssh_config_file"])
        if configuration is None or hasattr(self.client, "_ssh_config"):
            return ""
        return str(configuration.lookup(self.data["ssh_hostname"] or self.host.name).get("proxyjump", ""))

    @staticmethod
    def _explain(error: str, login: str) -> str:
        return explain(error, login)

    def _login(self) -> str:
        user = self.data["ssh_user"]
        address = self.data["ssh_hostname"] or self.host.name
        port = self.data["ssh_port"]
        return (f"{user}@" if user else "") + str(address) + (f" -p {port}" if port not in (None, 22) else "")


def explain(error: str, login: str) -> str:
    """pyinfra's sentence about a failed connection, and the remedy for it.

    login: user, address and port as the ssh command takes them.
    """
    if NOTHING_TO_TRY in error:
        remedy = GIVE_A_KEY
    elif "Authentication" in error:
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
