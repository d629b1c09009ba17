"""What a step wants to change on a host: the list that --dry shows and that apply carries out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from corral.scripts import Script


@dataclass(frozen=True)
class Change:
    """One change to one host.

    summary: an imperative phrase without the host, as in "install Ollama 0.34.4 in /opt/ollama/0.34.4".
    action: a script to run on the host with root's rights, or a function to call here. It must be safe
        to cut off at any point and to repeat.
    detail: more of it for people, line by line, below the summary.
    """

    summary: str
    action: Script | Callable[[], None]
    detail: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The summary, and the detail set in below it."""
        return [self.summary, *(f"  {line}" for line in self.detail)]
