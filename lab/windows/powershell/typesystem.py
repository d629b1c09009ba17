"""How types of .NET are modelled: what a script may write after [Type]:: and after an object's dot.

    FILE = DotNetType(
        "System.IO.File",
        statics={
            "Exists": method(files.exists, "string"),
            "WriteAllText": method(write_utf8, "string", "string") | method(write, "string", "string", "Text.Encoding"),
        },
    )
    KEY = DotNetType(
        "Microsoft.Win32.RegistryKey",
        python=RegistryKey,                              instances are objects of this Python class
        members={"Name": Property(lambda key: key.name), "GetValue": method(RegistryKey.get, "string")},
    )

A method's strings name the types of its arguments; arguments arrive converted, as PowerShell converts them. A type
given to the Engine whose name is that of a core type adds to it: its overloads are tried before the core's. What
a function raises as NetException reaches the script inside a MethodInvocationException, as a real one would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Overload:
    """One form of a method. With `engine`, the function gets the Engine before its other arguments.

    A last parameter "params TYPE[]" takes any number of arguments, as C#'s params does. "object" takes anything.
    A function that returns None is a method without a result (void), unless it is `nullable`: then its None is $null.
    """

    function: Callable[..., object]
    parameters: tuple[str, ...] = ()
    engine: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class Method:
    """The overloads of one name."""

    overloads: tuple[Overload, ...]

    def __or__(self, other: Method) -> Method:
        return Method(self.overloads + other.overloads)


def method(function: Callable[..., object], *parameters: str, engine: bool = False, nullable: bool = False) -> Method:
    """A method with one overload; join several by |. See Overload for the flags.

    A static method's and a constructor's function gets the arguments, an instance method's the object first.
    """
    return Method((Overload(function, parameters, engine, nullable),))


@dataclass(frozen=True)
class Property:
    """A property or field. `get` gets the object (nothing where static); `set` also the value, of type `kind`."""

    get: Callable[..., object]
    set: Callable[..., None] | None = None
    kind: str = "object"
    engine: bool = False


Member = Method | Property


class DotNetType:
    """A type as scripts see it. Every member that is not named here is refused."""

    def __init__(
        self,
        name: str,
        *,
        base: DotNetType | None = None,
        interfaces: Iterable[str] = (),
        python: type | None = None,
        accelerators: Iterable[str] = (),
        new: Method | None = None,
        statics: Mapping[str, Member] | None = None,
        members: Mapping[str, Member] | None = None,
        convert: Callable[[Any], object] | None = None,
        text: Callable[[Any], str] | None = None,
    ) -> None:
        """`accelerators` are short names beyond the name without "System." (regex, guid).

        `convert` makes an instance of any value for a cast, or raises ValueError; without it casts go through `new`
        with one argument. `text` is ToString().
        """
        self.name = name
        self.base = base
        self.interfaces = tuple(interfaces)
        self.python = python
        self.accelerators = tuple(accelerators)
        self.new = new
        self.statics = {key.lower(): (key, member) for key, member in (statics or {}).items()}
        self.members = {key.lower(): (key, member) for key, member in (members or {}).items()}
        self.convert = convert
        self.text = text

    def static(self, name: str) -> Member | None:
        """The static member of that name, of this type or a base."""
        found = self.statics.get(name.lower())
        if found:
            return found[1]
        return self.base.static(name) if self.base else None

    def member(self, name: str) -> Member | None:
        """The instance member of that name, of this type or a base."""
        found = self.members.get(name.lower())
        if found:
            return found[1]
        return self.base.member(name) if self.base else None

    def names(self) -> list[str]:
        """Full names of this type and its bases, most specific first."""
        return [self.name, *(self.base.names() if self.base else ["System.Object"])]

    def merged(self, other: DotNetType) -> DotNetType:
        """This type with the members of `other`, whose overloads come first."""
        made = DotNetType(
            self.name,
            base=self.base or other.base,
            interfaces=(*self.interfaces, *other.interfaces),
            python=other.python or self.python,
            accelerators=(*self.accelerators, *other.accelerators),
            convert=other.convert or self.convert,
            text=other.text or self.text,
        )
        made.new = other.new | self.new if other.new and self.new else other.new or self.new
        made.statics = _joined(self.statics, other.statics)
        made.members = _joined(self.members, other.members)
        return made

    def __repr__(self) -> str:
        return f"DotNetType({self.name!r})"


def _joined(own: dict[str, tuple[str, Member]], other: dict[str, tuple[str, Member]]) -> dict[str, tuple[str, Member]]:
    joined = dict(own)
    for key, (name, member) in other.items():
        known = own.get(key)
        if known and isinstance(known[1], Method) and isinstance(member, Method):
            joined[key] = (name, member | known[1])
        else:
            joined[key] = (name, member)
    return joined


class EnumType(DotNetType):
    """An enumeration. Where its values are not `complete`, any other name is refused instead of being an error."""

    def __init__(
        self,
        name: str,
        values: Mapping[str, int],
        *,
        flags: bool = False,
        complete: bool = True,
        accelerators: Iterable[str] = (),
    ) -> None:
        super().__init__(name, accelerators=accelerators)
        self.values = dict(values)
        self.flags = flags
        self.complete = complete
        self._by_name = {key.lower(): EnumValue(self, key, value) for key, value in self.values.items()}

    def named(self, name: str) -> EnumValue | None:
        """The value of that name, whatever its case; with flags also of several, joined by commas."""
        found = self._by_name.get(name.strip().lower())
        if found or not self.flags or "," not in name:
            return found
        parts = [self._by_name.get(part.strip().lower()) for part in name.split(",")]
        known = [part for part in parts if part]
        return self.of(sum({part.value for part in known})) if len(known) == len(parts) else None

    def of(self, value: int) -> EnumValue:
        """The value of that number, named by its flags, or by its digits where no name has it."""
        for known in self._by_name.values():
            if known.value == value:
                return known
        parts = [name for name, flag in self.values.items() if flag and value & flag == flag] if self.flags else []
        covered = 0
        for part in parts:
            covered |= self.values[part]
        return EnumValue(self, ", ".join(parts) if parts and covered == value else str(value), value)


@dataclass(frozen=True)
class EnumValue:
    """A value of an enumeration; as text it is its name, in arithmetic and in JSON its number."""

    type: EnumType
    name: str
    value: int

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnumValue) and other.type.name == self.type.name and other.value == self.value

    def __hash__(self) -> int:
        return hash((self.type.name, self.value))
