"""Binds a call's arguments to parameters (about_Parameters, about_Parameter_Binding, about_Splatting).

Names have to be written out: an unambiguous beginning of a name, which PowerShell accepts, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import patterns
from . import syntax as s
from .commands import Command
from .conversions import Conversions
from .errors import NetException, PowerShellError, Refusal
from .numbers import is_number
from .registry import ArrayType
from .typesystem import DotNetType
from .values import Hashtable, Nothing, PSObject, ScriptBlock, SwitchValue, TypedArray, elements, enumerates, listed

_SWITCH = "System.Management.Automation.SwitchParameter"
COMMON = {
    "erroraction": "ErrorAction", "warningaction": "WarningAction", "informationaction": "InformationAction",
    "errorvariable": "ErrorVariable", "outvariable": "OutVariable", "verbose": "Verbose", "debug": "Debug",
    "warningvariable": "WarningVariable",
}  # fmt: skip
SHOULD_PROCESS = {"whatif": "WhatIf", "confirm": "Confirm"}
_UNMODELLED = {
    "informationvariable",
    "outbuffer",
    "pipelinevariable",
    "ea",
    "wa",
    "infa",
    "ev",
    "wv",
    "iv",
    "ov",
    "ob",
    "pv",
}


@dataclass(frozen=True)
class Argument:
    """A word of a call. `name` for -name; `value` for a value, also that of -name:value, where `attached` is true.

    `node` is what was written, `text` how (-name, -name:), for executables.
    """

    name: str | None = None
    value: Any = None
    attached: bool = False
    text: str = ""
    node: s.Node | None = None
    spaced: bool = False

    @classmethod
    def named(cls, name: str, value: Any) -> Argument:
        """-name:value, written by nobody."""
        return cls(name, value, attached=True, text=f"-{name}:")


@dataclass(frozen=True)
class Spec:
    """A parameter as the binder sees it."""

    name: str
    kind: DotNetType
    position: int | None = None
    mandatory: bool = False
    from_pipeline: bool = False
    by_name: bool = False
    aliases: tuple[str, ...] = ()
    rest: bool = False
    default: s.Expression | None = None
    checks: tuple[Callable[[Any], str | None], ...] = ()
    null: bool = False
    empty: bool = False
    typed: bool = True

    @property
    def switch(self) -> bool:
        """Whether it takes no value."""
        return self.kind.name == _SWITCH


@dataclass
class Bound:
    """What a call's words came to."""

    values: dict[str, Any] = field(default_factory=dict)
    common: dict[str, Any] = field(default_factory=dict)
    left: list[Any] = field(default_factory=list)


def specs_of_command(command: Command, conversions: Conversions) -> list[Spec]:
    """A cmdlet's parameters."""
    return [
        Spec(
            name=parameter.name,
            kind=conversions.registry.get(parameter.type_name),
            position=parameter.position,
            mandatory=parameter.mandatory,
            from_pipeline=parameter.from_pipeline,
            by_name=parameter.by_name,
            aliases=parameter.aliases,
            rest=parameter.rest,
            checks=(_choice_check(parameter.choices),) if parameter.choices else (),
            null=parameter.null,
            empty=parameter.empty or parameter.null,
        )
        for parameter in command.parameters
    ]


def _choice_check(choices: tuple[str, ...]) -> Callable[[Any], str | None]:
    known = [choice.lower() for choice in choices]

    def check(item: Any) -> str | None:
        text = str(item)
        if text.lower() in known:
            return None
        return (
            f'The argument "{text}" does not belong to the set "{",".join(choices)}" specified by the ValidateSet '
            "attribute. Supply an argument that is in the set and then try the command again."
        )

    return _each(check)


def specs_of_block(
    block: s.Block, conversions: Conversions, evaluate: Callable[[s.Expression], Any], run: Callable[[Any, Any], bool]
) -> list[Spec]:
    """A function's or script's parameters. `evaluate` gives the value of an attribute's argument, `run` what a
    ValidateScript says of a value."""
    explicit = any(
        key == "position" for p in block.parameters for a in p.attributes if a.name == "parameter" for key, _ in a.named
    )
    found: list[Spec] = []
    position = 0
    for parameter in block.parameters:
        settings: dict[str, Any] = {}
        for attribute in parameter.attributes:
            if attribute.name == "parameter":
                settings.update({key: evaluate(value) for key, value in attribute.named})
        unknown = set(settings) - {
            "mandatory", "position", "valuefrompipeline", "valuefrompipelinebypropertyname",
            "valuefromremainingarguments", "helpmessage",
        }  # fmt: skip
        if unknown:
            raise Refusal("UnknownSyntax", f"[Parameter({', '.join(sorted(unknown))})]")
        kind = conversions.registry.get(parameter.type_name or "object")
        place = settings.get("position")
        if place is None and not explicit and kind.name != _SWITCH:
            place, position = position, position + 1
        names = {attribute.name for attribute in parameter.attributes}
        aliases = [str(evaluate(value)) for a in parameter.attributes if a.name == "alias" for value in a.positional]
        found.append(
            Spec(
                name=parameter.name,
                kind=kind,
                position=place,
                mandatory=conversions.truth(settings.get("mandatory", False)),
                from_pipeline=conversions.truth(settings.get("valuefrompipeline", False)),
                by_name=conversions.truth(settings.get("valuefrompipelinebypropertyname", False)),
                aliases=tuple(aliases),
                rest=conversions.truth(settings.get("valuefromremainingarguments", False)),
                default=parameter.default,
                checks=tuple(_checks(parameter, conversions, evaluate, run)),
                null="allownull" in names,
                empty=bool(names & {"allowemptystring", "allowemptycollection"}),
                typed=bool(parameter.type_name),
            )
        )
    return found


def _checks(
    parameter: s.ScriptParameter,
    conversions: Conversions,
    evaluate: Callable[[s.Expression], Any],
    run: Callable[[Any, Any], bool],
) -> Iterator[Callable[[Any], str | None]]:
    """What the Validate attributes say of a value: None, or why it is not valid."""
    for attribute in parameter.attributes:
        values = [evaluate(value) for value in attribute.positional]
        if attribute.named and attribute.name.startswith("validate"):
            raise Refusal("UnknownSyntax", f"{attribute.text}")
        if attribute.name == "validateset":
            yield _choice_check(tuple(conversions.text(value) for value in values))
        elif attribute.name == "validatepattern":
            yield _pattern_check(conversions, values[0])
        elif attribute.name == "validaterange":
            yield _range_check(conversions, values[0], values[1])
        elif attribute.name in ("validatelength", "validatecount"):
            yield _size_check(attribute.name, conversions, int(values[0]), int(values[1]))
        elif attribute.name == "validatescript":
            yield _script_check(conversions, values[0], run)
        elif attribute.name in ("validatenotnull", "validatenotnullorempty"):
            yield _not_null_check(attribute.name)


def _each(check: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    def run(value: Any) -> str | None:
        for item in listed(value):
            found = check(item)
            if found:
                return found
        return None

    return run


def _pattern_check(conversions: Conversions, pattern: Any) -> Callable[[Any], str | None]:
    wanted = conversions.text(pattern)

    def check(item: Any) -> str | None:
        text = conversions.text(item)
        if patterns.regex(wanted, re.I).search(text):
            return None
        return (
            f'The argument "{text}" does not match the "{wanted}" pattern. Supply an argument that matches '
            f'"{wanted}" and '
            "try the command again."
        )

    return _each(check)


def _range_check(conversions: Conversions, low: Any, high: Any) -> Callable[[Any], str | None]:
    def check(item: Any) -> str | None:
        if not is_number(item) or low <= item <= high:
            return None
        side = ("less", "minimum", low, "greater") if item < low else ("greater", "maximum", high, "less")
        return (
            f"The {conversions.text(item)} argument is {side[0]} than the {side[1]} allowed range of "
            f"{side[2]}. Supply an "
            f"argument that is {side[3]} than or equal to {side[2]} and then try the command again."
        )

    return _each(check)


def _size_check(name: str, conversions: Conversions, low: int, high: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if name == "validatecount":
            size = len(elements(value)) if enumerates(value) else 1
        else:
            size = len(conversions.text(value))
        if low <= size <= high:
            return None
        return f"The size of the argument ({size}) is not between {low} and {high}."

    return check


def _script_check(conversions: Conversions, block: Any, run: Callable[[Any, Any], bool]) -> Callable[[Any], str | None]:
    def check(item: Any) -> str | None:
        if run(block, item):
            return None
        return (
            f'The "{conversions.text(block)}" validation script for the argument with value '
            f'"{conversions.text(item)}" did '
            "not return a result of True. Determine why the validation script failed, and then try the command again."
        )

    return _each(check)


def _not_null_check(name: str) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        empty = value is None or (
            name.endswith("empty") and (value == "" or (enumerates(value) and not elements(value)))
        )
        if enumerates(value) and not empty:
            empty = any(item is None or (name.endswith("empty") and item == "") for item in elements(value))
        if not empty:
            return None
        if name.endswith("empty"):
            return (
                "The argument is null or empty. Provide an argument that is not null or empty, and then try "
                "the command "
                "again."
            )
        return "The argument is null. Provide a valid value for the argument, and then try running the command again."

    return check


class Binder:
    """Binds the words of calls of one command."""

    def __init__(
        self,
        command: str,
        specs: list[Spec],
        conversions: Conversions,
        *,
        cmdlet: bool,
        advanced: bool,
        should_process: bool = False,
        error_suffix: str = "",
    ) -> None:
        """`cmdlet`: what is not known is refused. `advanced`: nothing may be left over.

        `takes_input`: some parameter takes its value from the pipeline.
        """
        self.command = command
        self.specs = specs
        self.conversions = conversions
        self.cmdlet = cmdlet
        self.advanced = advanced
        self.should_process = should_process
        self.suffix = error_suffix or command
        self.takes_input = any(spec.from_pipeline or spec.by_name for spec in specs)
        self._names = {name.lower(): spec for spec in specs for name in (spec.name, *spec.aliases)}

    def error(self, message: str, error_id: str, kind: str = "ParameterBindingException") -> PowerShellError:
        """An error of binding."""
        made = PowerShellError(
            message,
            f"{error_id},{self.suffix}",
            "InvalidArgument" if error_id != "ParameterArgumentTransformationError" else "InvalidData",
            exception=NetException(f"System.Management.Automation.{kind}", message),
        )
        made.record.command = self.command
        return made

    def bind(self, words: list[Argument], *, piped: bool) -> Bound:
        """All words; missing mandatory parameters are an error unless the pipeline may give them."""
        bound = Bound()
        positional: list[Any] = []
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word.name is None:
                positional.append(word.value)
                continue
            common = self._common(word.name)
            spec = None if common else self._names.get(word.name.lower())
            if common is None and spec is None:
                self._unknown(word, positional)
                continue
            is_switch = common in ("Verbose", "Debug", "WhatIf", "Confirm") if common else bool(spec and spec.switch)
            value: Any = True
            if word.attached:
                value = word.value
            elif not is_switch:
                if at >= len(words) or words[at].name is not None:
                    kind = spec.kind.name if spec else "System.String"
                    raise self.error(
                        f"Missing an argument for parameter '{common or (spec and spec.name)}'. Specify a "
                        f"parameter of type "
                        f"'{kind}' and try again.",
                        "MissingArgument",
                    )
                value = words[at].value
                at += 1
            if common:
                bound.common[common] = value
            elif spec:
                if spec.name in bound.values:
                    raise self.error(
                        f"Cannot bind parameter because parameter '{spec.name}' is specified more than "
                        f"once. To provide "
                        "multiple values to parameters that can accept multiple values, use the array syntax. For "
                        'example, "-parameter value1,value2,value3".',
                        "ParameterAlreadyBound",
                    )
                bound.values[spec.name] = self.convert(spec, value)
        self._bind_positional(bound, positional)
        missing = [
            spec.name
            for spec in self.specs
            if spec.mandatory and spec.name not in bound.values and not (piped and (spec.from_pipeline or spec.by_name))
        ]
        if missing:
            raise self.missing(missing)
        return bound

    def missing(self, names: list[str]) -> PowerShellError:
        """The error of mandatory parameters without a value, as nobody is there to be asked (-NonInteractive)."""
        return self.error(
            f"Cannot process command because of one or more missing mandatory parameters: {' '.join(names)}.",
            "MissingMandatoryParameter",
        )

    def _common(self, name: str) -> str | None:
        """The common parameter of that name, which functions have only when they are advanced."""
        key = name.lower()
        if not (self.cmdlet or self.advanced) or key in self._names:
            return None
        if key in _UNMODELLED:
            raise Refusal("UnknownParameter", f"{self.command} -{name}")
        if key in COMMON:
            return COMMON[key]
        return SHOULD_PROCESS.get(key) if self.should_process else None

    def _unknown(self, word: Argument, positional: list[Any]) -> None:
        assert word.name is not None
        key = word.name.lower()
        common = (*COMMON, *SHOULD_PROCESS) if self.cmdlet or self.advanced else ()
        if any(name.startswith(key) for name in (*self._names, *common)):
            raise Refusal("AbbreviatedParameter", f"{self.command} -{word.name}: write the whole name")
        if self.cmdlet:
            raise Refusal("UnknownParameter", f"{self.command} -{word.name}")
        if self.advanced:
            raise self.error(
                f"A parameter cannot be found that matches parameter name '{word.name}'.", "NamedParameterNotFound"
            )
        positional.append(word.text)
        if word.attached:
            positional.append(word.value)

    def _bind_positional(self, bound: Bound, values: list[Any]) -> None:
        free = sorted(
            (
                spec
                for spec in self.specs
                if spec.position is not None and spec.name not in bound.values and not spec.rest
            ),
            key=lambda spec: spec.position or 0,
        )
        left = list(values)
        for spec in free:
            if not left:
                break
            bound.values[spec.name] = self.convert(spec, left.pop(0))
        rest = next((spec for spec in self.specs if spec.rest and spec.name not in bound.values), None)
        if rest and left:
            items = left if len(left) > 1 or not enumerates(left[0]) else elements(left[0])
            bound.values[rest.name] = self.convert(rest, items)
            left = []
        if left and (self.cmdlet or self.advanced):
            raise self.error(
                f"A positional parameter cannot be found that accepts argument '{self.conversions.text(left[0])}'.",
                "PositionalParameterNotFound",
            )
        bound.left = left

    def convert(self, spec: Spec, value: Any) -> Any:
        """A value as the parameter's type, checked."""
        if value is Nothing:
            value = None
        made = self._converted(spec, value)
        self._check_empty(spec, made)
        for check in spec.checks:
            reason = check(made)
            if reason:
                raise self.error(
                    f"Cannot validate argument on parameter '{spec.name}'. {reason}",
                    "ParameterArgumentValidationError",
                    "ParameterBindingValidationException",
                )
        return made

    def _converted(self, spec: Spec, value: Any) -> Any:
        kind = spec.kind
        if kind.name == "System.Object":
            return value
        if value is None and self.cmdlet and not spec.switch:
            return None
        if spec.switch or (kind.name == "System.Boolean" and (self.cmdlet or self.advanced)):
            if not isinstance(value, bool | SwitchValue) and not is_number(value):
                raise self._cannot(
                    spec,
                    f"Cannot convert value "
                    f'"{self.conversions.registry.type_of(value).name if value is not None else ""}" '
                    f'to type "{kind.name}". Boolean parameters accept only Boolean values and numbers, such as $True, '
                    "$False, 1 or 0.",
                )
            return SwitchValue(self.conversions.truth(value)) if spec.switch else self.conversions.truth(value)
        if kind.name == "System.String" and enumerates(value) and (self.cmdlet or self.advanced):
            if self.cmdlet:
                raise self.error(
                    f"Cannot convert '{self.conversions.registry.type_of(value).name}' to the type "
                    f"'System.String' required "
                    f"by parameter '{spec.name}'. Specified method is not supported.",
                    "CannotConvertArgument",
                )
            raise self._cannot(spec, "Cannot convert value to type System.String.")
        try:
            return self.conversions.to(value, kind)
        except Refusal:
            raise
        except PowerShellError as error:
            raise self._cannot(spec, error.message) from error

    def _cannot(self, spec: Spec, reason: str) -> PowerShellError:
        if self.cmdlet:
            return self.error(f"Cannot bind parameter '{spec.name}'. {reason}", "CannotConvertArgumentNoMessage")
        return self.error(
            f"Cannot process argument transformation on parameter '{spec.name}'. {reason}",
            "ParameterArgumentTransformationError",
            "ParameterBindingArgumentTransformationException",
        )

    def _check_empty(self, spec: Spec, value: Any) -> None:
        if not spec.mandatory:
            return
        what = ""
        if value is None and not spec.null:
            what, error_id = "it is null", "ParameterArgumentValidationErrorNullNotAllowed"
        elif spec.empty:
            return
        elif isinstance(value, str) and not value and spec.kind.name == "System.String":
            what, error_id = "it is an empty string", "ParameterArgumentValidationErrorEmptyStringNotAllowed"
        elif isinstance(spec.kind, ArrayType) and enumerates(value):
            items = elements(value)
            if not items:
                what, error_id = "it is an empty array", "ParameterArgumentValidationErrorEmptyArrayNotAllowed"
            elif isinstance(value, TypedArray) and value.element == "System.String" and "" in items:
                what, error_id = "it is an empty string", "ParameterArgumentValidationErrorEmptyStringNotAllowed"
            elif None in items:
                what, error_id = "it is null", "ParameterArgumentValidationErrorNullNotAllowed"
        if what:
            raise self.error(
                f"Cannot bind argument to parameter '{spec.name}' because {what}.",
                error_id,
                "ParameterBindingValidationException",
            )

    def bind_object(self, bound: dict[str, Any], item: Any) -> dict[str, Any]:
        """What the call is with one object of the pipeline; raises where the object fits no parameter.

        First the object itself, then its properties, both as they are; then both converted (about_Parameter_Binding).
        """
        made = dict(bound)
        free = [spec for spec in self.specs if spec.name not in bound]
        found = self._first(free, item, exact=True)
        taken = (
            found
            or self._property(free, item, exact=True)
            or self._first(free, item, exact=False)
            or self._property(free, item, exact=False)
        )
        if not taken:
            raise PowerShellError(
                "The input object cannot be bound to any parameters for the command either because the "
                "command does not "
                "take pipeline input or the input and its properties do not match any of the parameters "
                "that take pipeline "
                "input.",
                f"InputObjectNotBound,{self.suffix}",
                "InvalidArgument",
                item,
                exception="System.Management.Automation.ParameterBindingException",
            )
        made.update(taken)
        if found:
            rest = [spec for spec in free if spec.name not in made and spec.by_name]
            made.update(self._property(rest, item, exact=True) or {})
        missing = [spec.name for spec in self.specs if spec.mandatory and spec.name not in made]
        if missing:
            raise self.missing(missing)
        return made

    def _first(self, specs: list[Spec], item: Any, *, exact: bool) -> dict[str, Any] | None:
        for spec in specs:
            if spec.from_pipeline:
                fits, value = self._fits(spec, item, exact=exact)
                if fits:
                    return {spec.name: value}
        return None

    def _property(self, specs: list[Spec], item: Any, *, exact: bool) -> dict[str, Any] | None:
        made: dict[str, Any] = {}
        for spec in specs:
            if not spec.by_name:
                continue
            for name in (spec.name, *spec.aliases):
                if isinstance(item, PSObject) and name in item:
                    fits, value = self._fits(spec, item[name], exact=exact)
                    if fits:
                        made[spec.name] = value
                    break
        return made or None

    def _fits(self, spec: Spec, value: Any, *, exact: bool) -> tuple[bool, Any]:
        registry = self.conversions.registry
        if spec.kind.name == "System.Object":
            return True, value
        if exact:
            element = spec.kind.element if isinstance(spec.kind, ArrayType) else spec.kind
            if element.name == "System.Object" or (
                value is not None and (registry.is_instance(value, spec.kind) or registry.is_instance(value, element))
            ):
                return True, self.convert(spec, value)
            return False, None
        if isinstance(value, ScriptBlock | Hashtable) and spec.kind.name == "System.String":
            return False, None
        try:
            return True, self.convert(spec, value)
        except Refusal:
            raise
        except PowerShellError:
            return False, None
