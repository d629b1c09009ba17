"""What corral says when something is wrong: which host, what was found, what to do."""

from __future__ import annotations


class CorralError(Exception):
    """An expected failure, written for the person who has to fix it.

    problem: what was found, naming the key, file or program concerned.
    remedy:  what to do about it; a command to run where there is one.
    detail:  optional evidence (the end of a journal, a server's answer), shown below.
    """

    def __init__(self, problem: str, remedy: str = "", detail: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        self.detail = detail.rstrip()
        super().__init__(str(self))

    def __str__(self) -> str:
        text = " ".join(_ended(part) for part in (self.problem, self.remedy) if part)
        if self.detail:
            text += "\n" + "\n".join(f"    {line}" for line in self.detail.splitlines())
        return text


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."
