"""What corral sends to a Windows host, read as bootstrap.ps1 reads it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

from corral.windows import powershell


def decoded(encoded: str) -> str:
    return base64.b64decode(encoded, validate=True).decode()


@dataclass
class Received:
    """A request as bootstrap.ps1 reads it."""

    script: str = ""
    directory: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, powershell.Value] = field(default_factory=dict)
    limit_s: int | None = None


def received(data: bytes) -> Received:
    header, _, body = data.partition(b"\n")
    assert header.decode("ascii") == f"corral {len(body)} {hashlib.sha256(body).hexdigest()}"
    found = Received()
    for line in body.decode("ascii").split("\n")[:-1]:
        match line.split(" "):
            case ["script", _, text]:
                found.script = decoded(text)
            case ["limit", seconds]:
                found.limit_s = int(seconds)
            case ["directory", path]:
                found.directory = decoded(path)
            case ["environment", name, value]:
                found.environment[decoded(name)] = decoded(value)
            case ["parameter", name, "s", value]:
                found.parameters[decoded(name)] = decoded(value)
            case ["parameter", name, "i", value]:
                found.parameters[decoded(name)] = int(value)
            case ["parameter", name, "b", value]:
                found.parameters[decoded(name)] = value == "1"
            case ["parameter", name, "a", *values]:
                found.parameters[decoded(name)] = [decoded(each) for each in values]
            case _:
                raise AssertionError(line)
    return found
