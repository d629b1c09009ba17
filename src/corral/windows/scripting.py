"""A PowerShell script as a command of pyinfra's: what facts and operations for Windows hand to the connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from pyinfra.api.command import StringCommand
from pyinfra.api.hiddenvalue import HiddenValue

from corral.windows import powershell

Parameter = powershell.Value | HiddenValue


class PowerShell(StringCommand):
    """A script's text and the values of its parameters; neither is ever part of a command line.

    text: PowerShell; a param() block at its beginning takes the parameters.
    name: what people see of it, with the parameters behind.
    parameters: strings, booleans, whole numbers, sequences of strings; a HiddenValue is sent but never shown.
    arguments: pyinfra's for this command alone, such as _timeout.
    """

    def __init__(
        self, text: str, name: str = "", parameters: Mapping[str, Parameter] | None = None, **arguments: object
    ) -> None:
        self.text = text
        self.parameters = dict(parameters or {})
        self.name = name or _first_line(text)
        shown = (f"-{key} {_shown(value)}" for key, value in self.parameters.items())
        super().__init__(self.name, *shown, **arguments)  # type: ignore[arg-type]

    def request(self, **surroundings: object) -> bytes:
        """What is sent for it; surroundings as in corral.windows.powershell.request."""
        values = {
            key: value.unmask() if isinstance(value, HiddenValue) else value for key, value in self.parameters.items()
        }
        return powershell.request(self.text, name=self.name, parameters=values, **surroundings)  # type: ignore[arg-type]


def script(path: str, **parameters: Parameter) -> PowerShell:
    """One of the scripts of corral.windows, by its name below scripts/, with lib.ps1 in front."""
    text = files("corral.windows").joinpath("scripts", path).read_text(encoding="ascii")
    return PowerShell(powershell.assemble(text), path, parameters)


def _first_line(text: str) -> str:
    return shortened(next((line.strip() for line in text.splitlines() if line.strip()), "script"))


def shortened(line: str, length: int = 60) -> str:
    """At most so many characters of a line for people."""
    return line if len(line) <= length else f"{line[: length - 3]}..."


def _shown(value: Parameter) -> str:
    if isinstance(value, HiddenValue | bool | int):
        return str(value)
    text = value if isinstance(value, str) else ", ".join(value)
    return shortened(text, 200)


def sequence(value: str | Sequence[str]) -> list[str]:
    """One or several, as pyinfra's operations take them."""
    return [value] if isinstance(value, str) else list(value)
