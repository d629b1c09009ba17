"""A connector for hosts whose declaration is wrong: it says so, once, and does nothing.

So that one bad host is one failed host: pyinfra shows the sentence beside its name, goes on with the
others and ends with an exit code that is not 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import IOBase
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.base import BaseConnector, DataMeta

if TYPE_CHECKING:
    from pyinfra.api.command import StringCommand
    from pyinfra.connectors.util import CommandOutput


class ConnectorData(TypedDict):
    """Host data that this connector reads; named in corral.inventory.PROBLEM_KEY."""

    corral_problem: str


class InvalidConnector(BaseConnector):
    """`@invalid/NAME` is shown as NAME and cannot be connected to."""

    handles_execution = True
    data_cls = ConnectorData
    data_meta = {"corral_problem": DataMeta("What is wrong with the host", "its declaration is wrong")}  # noqa: RUF012

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield name, {}, []

    def connect(self) -> NoReturn:
        raise ConnectError(self.data["corral_problem"])

    def run_shell_command(
        self, command: StringCommand, print_output: bool, print_input: bool, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        self.connect()

    def put_file(
        self,
        filename_or_io: str | IOBase,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        self.connect()

    def get_file(
        self,
        remote_filename: str,
        filename_or_io: str | IOBase,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        self.connect()
