"""What a probe found of an Ollama that somebody else has put on a Linux host (found.sh): typed, parsed without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

#: Where install.sh puts the program and its libraries, by the first of these that root's PATH names (install.sh of
#: 0.34.4, BINDIR); a build for a distribution has them below /usr.
PREFIXES = ("/usr/local", "/usr")
PROGRAMS = tuple(f"{prefix}/{part}" for prefix in PREFIXES for part in ("bin/ollama", "lib/ollama"))


class Program(NamedTuple):
    """A file or directory that is not corral's. manager: dpkg, rpm or pacman; "" with no package that has it."""

    path: str
    manager: str = ""
    package: str = ""


class Holder(NamedTuple):
    """A process that listens on Ollama's port and is not the service's. models, home: OLLAMA_MODELS and HOME as it was
    started with them."""

    pid: int
    executable: str
    user: str
    models: str
    home: str


class Container(NamedTuple):
    """A container that publishes the port. data: the host's directory behind /root/.ollama; "" for none."""

    runtime: str
    name: str
    image: str
    data: str


@dataclass(frozen=True)
class Foreign:
    """All of it. home: of the user ollama. snaps: services of a snap that run or start at boot."""

    programs: tuple[Program, ...] = ()
    home: str = ""
    snaps: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    containers: tuple[Container, ...] = ()

    def package(self, path: str) -> Program | None:
        """The package that has brought a file; None where none has."""
        return next((one for one in self.programs if one.path == path and one.package), None)


def parse(sections: Mapping[str, str]) -> Foreign:
    account = sections.get("foreign.account", "").strip().split(":")
    return Foreign(
        programs=tuple(_program(line) for line in sections.get("foreign.programs", "").splitlines()),
        home=account[5] if len(account) > 5 else "",
        snaps=tuple(sections.get("foreign.snaps", "").split()),
        holders=tuple(
            Holder(int(pid), *rest)
            for pid, *rest in (line.split("\t") for line in sections.get("foreign.holders", "").splitlines())
            if len(rest) == 4
        ),
        containers=tuple(
            Container(runtime, name.removeprefix("/"), image, data)
            for runtime, name, image, data in (
                line.split("\t") for line in sections.get("foreign.containers", "").splitlines()
            )
        ),
    )


def _program(line: str) -> Program:
    path, _, owner = line.partition("\t")
    manager, _, package = owner.partition(" ")
    return Program(path, manager, package)
