"""A stand-in for Windows PowerShell 5.1: executes the text of scripts against a model of a machine.

It refuses every syntax, command, parameter, type and member that it does not know: what runs here was modelled, after
the documentation of PowerShell; it is no proof that the real one agrees. A refusal (Refusal, or exit code 70 and a line
"StandIn.UnknownCommand: ..." on standard error) is caught by nothing in a script.

    engine = Engine(commands, executables, types, stdin=..., stdout=..., stderr=..., environment={...}, pid=4711,
                    location="C:\\\\Users\\\\admin")
    code = engine.run_command_line("-NoProfile -EncodedCommand ...")     a whole process
    objects = engine.run_script("1..3 | ForEach-Object { $_ * 2 }")      for tests

Cmdlets are written with `command` and `Parameter` (see `commands`), types with DotNetType (see `typesystem`), values
are the Python objects that `values` lists.
"""

from .commands import Call, Command, Parameter, command
from .engine import Engine, Executable
from .errors import ErrorRecord, NetException, PowerShellError, Refusal
from .typesystem import DotNetType, EnumType, EnumValue, Property, method
from .values import Hashtable, OrderedHashtable, PSObject

__all__ = [
    "Call",
    "Command",
    "DotNetType",
    "Engine",
    "EnumType",
    "EnumValue",
    "ErrorRecord",
    "Executable",
    "Hashtable",
    "NetException",
    "OrderedHashtable",
    "PSObject",
    "Parameter",
    "PowerShellError",
    "Property",
    "Refusal",
    "command",
    "method",
]
