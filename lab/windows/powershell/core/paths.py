"""Join-Path and Split-Path: paths as text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..commands import Call, Parameter, command
from ..errors import PowerShellError

_PATHS = Parameter("Path", "string[]", position=0, mandatory=True, from_pipeline=True, by_name=True, empty=True)


@command(
    "Join-Path",
    _PATHS,
    Parameter("ChildPath", "string", position=1, mandatory=True, by_name=True, empty=True),
)
def join_path(call: Call) -> Iterator[object]:
    """Join-Path: an error where the drive does not exist."""
    for record in call.records():
        for path in record["Path"]:
            drive = re.match(r"([A-Za-z]):", path)
            exists = call.engine.drive_exists
            if drive and exists and not exists(drive.group(1)):
                name = drive.group(1)
                call.write_error(
                    f"Cannot find drive. A drive with the name '{name}' does not exist.",
                    "DriveNotFound",
                    "ObjectNotFound",
                    name,
                    exception="System.Management.Automation.DriveNotFoundException",
                )
                continue
            child = record["ChildPath"].replace("/", "\\")
            parent = path.replace("/", "\\")
            yield parent.rstrip("\\") + "\\" + child.lstrip("\\")


def _parent(path: str) -> str:
    trimmed = path.rstrip("\\")
    if re.fullmatch(r"[A-Za-z]:", trimmed):
        return ""
    head, separator, _ = trimmed.rpartition("\\")
    if re.fullmatch(r"[A-Za-z]:", head):
        return f"{head}\\"
    return head if separator else ""


def _leaf(path: str) -> str:
    trimmed = path.rstrip("\\")
    if re.fullmatch(r"[A-Za-z]:", trimmed):
        return f"{trimmed}\\"
    return trimmed.rpartition("\\")[2]


@command(
    "Split-Path",
    Parameter("Path", "string[]", position=0, from_pipeline=True, by_name=True),
    Parameter("LiteralPath", "string[]", by_name=True),
    Parameter("Parent", "switch"),
    Parameter("Leaf", "switch"),
    Parameter("Qualifier", "switch"),
    Parameter("NoQualifier", "switch"),
    Parameter("IsAbsolute", "switch"),
)
def split_path(call: Call) -> Iterator[object]:
    """Split-Path: the parent unless another part is asked for."""
    for record in call.records():
        for given in record.get("LiteralPath") or record.get("Path") or []:
            path = given.replace("/", "\\")
            drive = re.match(r"[A-Za-z]:", path)
            if call.switch("Leaf"):
                yield _leaf(path)
            elif call.switch("IsAbsolute"):
                yield bool(re.match(r"[A-Za-z]:\\|\\\\", path))
            elif call.switch("Qualifier"):
                if not drive:
                    raise PowerShellError(
                        f"Cannot parse path because path '{given}' does not have a qualifier specified.",
                        "ParseQualifier",
                        "InvalidArgument",
                        exception="System.FormatException",
                    )
                yield drive.group()
            elif call.switch("NoQualifier"):
                yield path[2:] if drive else path
            else:
                yield _parent(path)


COMMANDS = [join_path, split_path]
