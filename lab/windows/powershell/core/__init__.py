"""Cmdlets that touch no machine."""

from ..commands import Command
from . import json, objects, output, paths, session, text


def core_commands() -> list[Command]:
    """All of them."""
    return [
        *objects.COMMANDS,
        *output.COMMANDS,
        *json.COMMANDS,
        *paths.COMMANDS,
        *session.COMMANDS,
        *text.COMMANDS,
    ]
