"""Types of .NET that touch no machine."""

from ..typesystem import DotNetType
from . import collections, console, primitives, runspaces, streams, system, text, time


def core_types() -> list[DotNetType]:
    """All of them."""
    return [
        *primitives.TYPES,
        *text.TYPES,
        *collections.TYPES,
        *streams.TYPES,
        *console.TYPES,
        *time.TYPES,
        *system.TYPES,
        *runspaces.TYPES,
    ]
