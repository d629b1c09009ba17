"""Errors: exceptions of .NET, error records, and what ends a script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

# Each exception's base class; what is missing here has System.Exception as its base.
BASES = {
    "System.SystemException": "System.Exception",
    "System.ApplicationException": "System.Exception",
    "System.ArgumentException": "System.SystemException",
    "System.ArgumentNullException": "System.ArgumentException",
    "System.ArgumentOutOfRangeException": "System.ArgumentException",
    "System.ArithmeticException": "System.SystemException",
    "System.DivideByZeroException": "System.ArithmeticException",
    "System.OverflowException": "System.ArithmeticException",
    "System.ArrayTypeMismatchException": "System.SystemException",
    "System.FormatException": "System.SystemException",
    "System.IndexOutOfRangeException": "System.SystemException",
    "System.InvalidCastException": "System.SystemException",
    "System.InvalidOperationException": "System.SystemException",
    "System.ObjectDisposedException": "System.InvalidOperationException",
    "System.NotImplementedException": "System.SystemException",
    "System.NotSupportedException": "System.SystemException",
    "System.NullReferenceException": "System.SystemException",
    "System.OperationCanceledException": "System.SystemException",
    "System.OutOfMemoryException": "System.SystemException",
    "System.RankException": "System.SystemException",
    "System.TimeoutException": "System.SystemException",
    "System.UnauthorizedAccessException": "System.SystemException",
    "System.AggregateException": "System.Exception",
    "System.IO.IOException": "System.SystemException",
    "System.IO.InvalidDataException": "System.SystemException",
    "System.IO.DirectoryNotFoundException": "System.IO.IOException",
    "System.IO.DriveNotFoundException": "System.IO.IOException",
    "System.IO.EndOfStreamException": "System.IO.IOException",
    "System.IO.FileNotFoundException": "System.IO.IOException",
    "System.IO.PathTooLongException": "System.IO.IOException",
    "System.Collections.Generic.KeyNotFoundException": "System.SystemException",
    "System.ComponentModel.Win32Exception": "System.Runtime.InteropServices.ExternalException",
    "System.Runtime.InteropServices.ExternalException": "System.SystemException",
    "System.Runtime.InteropServices.COMException": "System.Runtime.InteropServices.ExternalException",
    "System.Net.Sockets.SocketException": "System.ComponentModel.Win32Exception",
    "System.Net.WebException": "System.InvalidOperationException",
    "System.Security.SecurityException": "System.SystemException",
    "System.Security.Cryptography.CryptographicException": "System.SystemException",
    "System.Security.Principal.IdentityNotMappedException": "System.SystemException",
    "Microsoft.Management.Infrastructure.CimException": "System.Exception",
    "Microsoft.PowerShell.Cmdletization.Cim.CimJobException": "System.SystemException",
    "Microsoft.PowerShell.Commands.WriteErrorException": "System.SystemException",
    "Microsoft.PowerShell.Commands.ProcessCommandException": "System.SystemException",
    "Microsoft.PowerShell.Commands.ServiceCommandException": "System.SystemException",
    "System.Management.Automation.RuntimeException": "System.SystemException",
    "System.Management.Automation.ActionPreferenceStopException": "System.Management.Automation.RuntimeException",
    "System.Management.Automation.ArgumentTransformationMetadataException": (
        "System.Management.Automation.MetadataException"
    ),
    "System.Management.Automation.CommandNotFoundException": "System.Management.Automation.RuntimeException",
    "System.Management.Automation.DriveNotFoundException": ("System.Management.Automation.SessionStateException"),
    "System.Management.Automation.ExtendedTypeSystemException": "System.Management.Automation.RuntimeException",
    "System.Management.Automation.GetValueException": "System.Management.Automation.ExtendedTypeSystemException",
    "System.Management.Automation.GetValueInvocationException": "System.Management.Automation.GetValueException",
    "System.Management.Automation.SetValueException": "System.Management.Automation.ExtendedTypeSystemException",
    "System.Management.Automation.SetValueInvocationException": "System.Management.Automation.SetValueException",
    "System.Management.Automation.IncompleteParseException": "System.Management.Automation.ParseException",
    "System.Management.Automation.ItemNotFoundException": "System.Management.Automation.SessionStateException",
    "System.Management.Automation.MetadataException": "System.Management.Automation.RuntimeException",
    "System.Management.Automation.MethodException": "System.Management.Automation.ExtendedTypeSystemException",
    "System.Management.Automation.MethodInvocationException": "System.Management.Automation.MethodException",
    "System.Management.Automation.ParameterBindingException": "System.Management.Automation.RuntimeException",
    "System.Management.Automation.ParseException": "System.Management.Automation.RuntimeException",
    "System.Management.Automation.PropertyNotFoundException": (
        "System.Management.Automation.ExtendedTypeSystemException"
    ),
    "System.Management.Automation.PSArgumentException": "System.ArgumentException",
    "System.Management.Automation.PSArgumentNullException": "System.ArgumentNullException",
    "System.Management.Automation.PSArgumentOutOfRangeException": "System.ArgumentOutOfRangeException",
    "System.Management.Automation.PSInvalidCastException": "System.InvalidCastException",
    "System.Management.Automation.PSInvalidOperationException": "System.InvalidOperationException",
    "System.Management.Automation.PSNotSupportedException": "System.NotSupportedException",
    "System.Management.Automation.RemoteException": "System.Management.Automation.RuntimeException",
    "System.Management.Automation.ScriptCallDepthException": "System.SystemException",
    "System.Management.Automation.SessionStateException": "System.Management.Automation.RuntimeException",
    "System.Management.Automation.ValidationMetadataException": "System.Management.Automation.MetadataException",
}
# ParameterBindingException's subclass of the same purpose is internal to the engine, and only its name is ever seen.
BASES["System.Management.Automation.ParameterBindingValidationException"] = (
    "System.Management.Automation.ParameterBindingException"
)
BASES["System.Management.Automation.ParameterBindingArgumentTransformationException"] = (
    "System.Management.Automation.ParameterBindingException"
)


class NetException(Exception):
    """An exception of .NET: a value of scripts (`$_.Exception`) as well as what model code raises.

    `type_name` is the full name, `properties` holds members beyond Message and InnerException, such as HResult.
    """

    def __init__(
        self,
        type_name: str,
        message: str,
        inner: NetException | None = None,
        properties: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.type_name = type_name
        self.message = message
        self.inner = inner
        self.properties: dict[str, object] = dict(properties or {})

    def type_names(self) -> Iterator[str]:
        """The type's own name and those of its bases, most specific first."""
        name = self.type_name
        while name != "System.Exception":
            yield name
            name = BASES.get(name, "System.Exception")
        yield "System.Exception"
        yield "System.Object"

    @property
    def name(self) -> str:
        """The type's name without its namespace."""
        return self.type_name.rpartition(".")[2]


@dataclass(frozen=True)
class Position:
    """Where in a script something stands: lines and columns from 1, as error messages count."""

    line: int
    column: int
    text: str
    source_line: str
    file: str = ""


@dataclass
class ErrorRecord:
    """What `$_` is in a catch block and what `$Error` holds.

    `command` is the cmdlet or function; `origin` what a report begins with, where that is something else.
    """

    exception: NetException
    error_id: str = ""
    category: str = "NotSpecified"
    target: object = None
    command: str = ""
    position: Position | None = None
    details: str | None = None
    origin: str | None = None
    stack: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """The text for people."""
        return self.details if self.details is not None else self.exception.message


class PowerShellError(Exception):
    """A terminating error: ends the statement, and what surrounds it up to the next catch or trap.

    `error_id` becomes FullyQualifiedErrorId; a cmdlet's own name is added to it where a cmdlet raised it.
    """

    def __init__(
        self,
        message: str,
        error_id: str = "",
        category: str = "NotSpecified",
        target: object = None,
        *,
        exception: NetException | str | None = None,
    ) -> None:
        super().__init__(message)
        if not isinstance(exception, NetException):
            exception = NetException(exception or "System.Management.Automation.RuntimeException", message)
        self.record = ErrorRecord(exception, error_id, category, target)

    @property
    def message(self) -> str:
        """The text for people."""
        return self.record.message

    @property
    def error_id(self) -> str:
        """FullyQualifiedErrorId."""
        return self.record.error_id

    @property
    def category(self) -> str:
        """A name of [System.Management.Automation.ErrorCategory]."""
        return self.record.category

    @property
    def target(self) -> object:
        """TargetObject."""
        return self.record.target


class Refusal(PowerShellError):
    """The stand-in does not know something that a script asked of it.

    No catch, trap, preference or redirection of a script stops it: it ends the script, so that nothing passes that was
    not modelled. `error_id` is StandIn.UnknownCommand, StandIn.UnknownType and so on.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message, f"StandIn.{kind}", "NotImplemented", exception="StandIn.Refusal")
