"""A static check of PowerShell: what can be known of a script without an engine to run it.

A script is parsed (tree-sitter's PowerShell grammar), each command and each parameter in it is looked up in the table
of what Windows PowerShell 5.1 has, and the project's own rules are applied. It sees texts, not behaviour: a script that
passes is spelled rightly, no more.

The table, tests/data/powershell-5.1-commands.json.gz, is a selection from PSScriptAnalyzer's
Engine/Settings/desktop-5.1.14393.206-windows.json (https://github.com/PowerShell/PSScriptAnalyzer, MIT licence): per
command its parameter sets, each a string of words. `*Name` is mandatory and positional, `+Name` positional, `!Name`
mandatory by name, anything else optional by name; a `?` at the end marks a switch. Commands that PowerShell 7 no longer
has are left out, for the scripts run there too. `python tests/powershell_check.py FILE` makes it again from that file.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tree_sitter_pwsh
from tree_sitter import Language, Node, Parser

TABLE = Path(__file__).parent / "data" / "powershell-5.1-commands.json.gz"
# Modules, and which of their commands: none that formats a disk by accident.
MODULES = {
    "Microsoft.PowerShell.Core": "",
    "Microsoft.PowerShell.Diagnostics": "Get-",
    "Microsoft.PowerShell.LocalAccounts": "Get-",
    "Microsoft.PowerShell.Management": "",
    "Microsoft.PowerShell.Security": "",
    "Microsoft.PowerShell.Utility": "",
    "CimCmdlets": "",
    "Dism": "Get-|Add-WindowsCapability",
    "NetConnection": "Get-",
    "NetSecurity": ".*-NetFirewall",
    "NetTCPIP": "Get-",
    "ScheduledTasks": "",
    "Storage": "Get-",
}
# about_Windows_PowerShell_5.1 differences, "Cmdlets removed from PowerShell".
GONE_IN_7 = re.compile(
    r"-(Wmi(Object|Instance|Method|Event)|EventLog|PSSnapin|Transaction|ComputerRestore|Console|ControlPanelItem"
    r"|ComputerMachinePassword)$|^(New-WebServiceProxy|Checkpoint-Computer|Restore-Computer|Limit-EventLog"
    r"|Show-EventLog|ConvertFrom-String|Convert-String|Export-Console|Use-Transaction)$"
)
# The registry provider's own parameter, which the table lacks (about_Registry_Provider, "Dynamic parameters").
PROVIDERS = {"Set-ItemProperty": "Type"}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.lower().split())


COMMON = _names(
    "Debug ErrorAction ErrorVariable InformationAction InformationVariable OutBuffer OutVariable PipelineVariable"
    " Verbose WarningAction WarningVariable"
)
VARIABLE_SETTERS = _names("ErrorVariable InformationVariable OutVariable PipelineVariable WarningVariable")
# Those of about_Automatic_Variables and about_Preference_Variables that 5.1 and 7 share.
AUTOMATIC = _names(
    "$ ? ^ _ args ConfirmPreference ConsoleFileName DebugPreference Error ErrorActionPreference ExecutionContext false"
    " foreach HOME Host InformationPreference LASTEXITCODE Matches MyInvocation NestedPromptLevel null OFS"
    " OutputEncoding PID PROFILE ProgressPreference PSBoundParameters PSCmdlet PSCommandPath PSCulture"
    " PSDefaultParameterValues PSEmailServer PSHOME PSItem PSScriptRoot PSSenderInfo PSUICulture PSVersionTable PWD"
    " sender ShellId StackTrace switch this true VerbosePreference WarningPreference WhatIfPreference"
)
# Types whose static members compute and touch nothing of the machine.
PURE = re.compile(
    r"(system\.)?(array|bitconverter|bool|boolean|byte|char|collections\..*|convert|double|exception|guid|int|int32|int64"
    r"|io\.path|io\.(filemode|fileaccess|fileshare|searchoption)|long|math|net\.ipaddress|nullstring|pscustomobject"
    r"|microsoft\.win32\.registry(hive|valuekind|valueoptions|view)|psobject|regex|scriptblock|string|stringcomparison|stringsplitoptions|text\..*|timespan|uri|version"
    r"|management\.automation\.(errorrecord|scriptblock))"
)
# Except these, which look at the machine or change it.
IMPURE_MEMBERS = _names("GetFullPath GetRandomFileName GetTempFileName GetTempPath NewGuid")
# A boundary to .NET is a function of no more lines than this, so that it can be replaced as a whole.
BOUNDARY_LINES = 12

WRITERS = _names("Add-Content Export-Clixml Export-Csv Out-File Set-Content Start-Transcript Tee-Object")
AFTER_5_1 = {
    "ternary_expression": "the ternary operator",
    "null_coalesce_expression": "??",
    "pipeline_chain_tail": "&& or ||",
}


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong in a script: the line (from 1), the rule's name, and the case."""

    line: int
    rule: str
    text: str


@dataclass(frozen=True)
class ParameterSet:
    """Names in lower case; the positional ones in their order."""

    names: frozenset[str]
    positional: tuple[str, ...]
    mandatory: frozenset[str]


@dataclass(frozen=True)
class Command:
    """A command as it may be called. common: it takes the common parameters, as functions do only if advanced ones."""

    name: str
    sets: tuple[ParameterSet, ...]
    switches: frozenset[str]
    common: bool = True

    @property
    def names(self) -> frozenset[str]:
        return frozenset().union(*(each.names for each in self.sets)) | (COMMON if self.common else frozenset())


@dataclass
class _Script:
    """A parsed text with what is defined in it."""

    source: bytes
    root: Node
    functions: dict[str, Command] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)


# --- the table -----------------------------------------------------------------------------------


def _words(parameter_set: str) -> str:
    """One parameter set of PSScriptAnalyzer's table, `[-Path] <string[]> [-Force]`, as the words described above."""
    forms = re.compile(
        r"\[\[-(?P<positional>\w+)\] <[^>]*>\]|\[-(?P<first>\w+)\] <[^>]*>|\[-(?P<named>\w+) <[^>]*>\]"
        r"|\[-(?P<switch>\w+)\]|-(?P<must>\w+) <[^>]*>|-(?P<must_switch>\w+)"
    )
    marks = {"positional": "+{}", "first": "*{}", "named": "{}", "switch": "{}?", "must": "!{}", "must_switch": "!{}?"}
    return " ".join(
        marks[match.lastgroup].format(match[match.lastgroup])
        for match in forms.finditer(parameter_set)
        if match.lastgroup is not None
    )


def make_table(analyzer: Mapping[str, object]) -> dict[str, list[str]]:
    """The table of PSScriptAnalyzer's settings file: per command its parameter sets as strings of words."""
    table: dict[str, list[str]] = {}
    for module in analyzer["Modules"]:  # type: ignore[attr-defined]
        for command in module["ExportedCommands"] if module["Name"] in MODULES else ():
            # Aliases stand in the list with no parameters.
            if not command.get("ParameterSets") or GONE_IN_7.search(command["Name"]):
                continue
            if not re.match(MODULES[module["Name"]], command["Name"]):
                continue
            sets = [_words(each) for each in command["ParameterSets"].split("[<CommonParameters>]")[:-1]]
            if extra := PROVIDERS.get(command["Name"]):
                sets = [f"{each} {extra}" for each in sets]
            table[command["Name"]] = sets
    return table


def _command(name: str, sets: Iterable[str], common: bool = True) -> Command:
    parsed: list[ParameterSet] = []
    switches: set[str] = set()
    for words in sets:
        names: list[str] = []
        positional: list[str] = []
        mandatory: set[str] = set()
        for word in words.split():
            parameter = word.strip("*+!?").lower()
            names.append(parameter)
            if word[0] in "*+":
                positional.append(parameter)
            if word[0] in "*!":
                mandatory.add(parameter)
            if word.endswith("?"):
                switches.add(parameter)
        parsed.append(ParameterSet(frozenset(names), tuple(positional), frozenset(mandatory)))
    return Command(name, tuple(parsed), frozenset(switches), common)


@functools.cache
def table() -> Mapping[str, Command]:
    """The commands of Windows PowerShell 5.1 by their names in lower case."""
    stored: dict[str, list[str]] = json.loads(gzip.decompress(TABLE.read_bytes()))
    return {name.lower(): _command(name, sets) for name, sets in stored.items()}


# --- the tree ------------------------------------------------------------------------------------


@functools.cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_pwsh.language()))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")


def _line(node: Node) -> int:
    return node.start_point[0] + 1


def _inside(node: Node, *kinds: str) -> Node | None:
    """The nearest ancestor of one of the kinds."""
    above = node.parent
    while above is not None and above.type not in kinds:
        above = above.parent
    return above


def _variable(node: Node) -> str | None:
    """The name in lower case without its scope; None for what belongs to a drive, as $env:Path does."""
    name = _text(node).lstrip("$@").strip("{}").lower()
    scope, separator, rest = name.partition(":")
    if not separator:
        return name
    return rest if scope in ("script", "global", "local", "private", "using") else None


def _declared(parameter: Node) -> Iterator[tuple[Node, str]]:
    """The variables that a script_parameter declares, each with its attributes and type in lower case.

    They can be several: after a default value the grammar takes `, [switch]$Next` for more of that value.
    """
    attributes = "".join(_text(child) for child in parameter.children if child.type == "attribute_list")
    yield next(child for child in parameter.children if child.type == "variable"), attributes.lower()
    for default in parameter.children:
        if default.type == "script_parameter_default":
            for values in (child for child in default.named_children if child.type == "array_literal_expression"):
                for value in values.named_children[1:]:
                    variable = next(each for each in _walk(value) if each.type == "variable")
                    yield variable, _text(value).lower()


def _own_function(node: Node) -> Command:
    """A function of the script: every parameter optional, for [Parameter()] may say more than this looks at."""
    name = next(_text(child) for child in node.children if child.type == "function_name").split(":")[-1]
    words: list[str] = []
    advanced = False
    for inner in _walk(node):
        own = _inside(inner, "function_statement", "script_block_expression") == node
        if own and inner.type == "script_parameter":
            for variable, kind in _declared(inner):
                words.append(f"{_text(variable)[1:]}?" if "[switch]" in kind else f"+{_text(variable)[1:]}")
        if own and inner.type == "attribute_name":
            advanced = advanced or _text(inner).lower() in ("cmdletbinding", "parameter")
    return _command(name, [" ".join(words)], advanced)


def _assigned(root: Node) -> Iterator[str | None]:
    for node in _walk(root):
        if node.type == "left_assignment_expression":
            for target in _walk(node):
                # `$a.b = 1` and `$a[0] = 1` read $a.
                around = _inside(target, "member_access", "element_access", "assignment_expression")
                if target.type == "variable" and around == node.parent:
                    yield _variable(target)
        elif node.type == "foreach_statement":
            yield _variable(next(child for child in node.children if child.type == "variable"))
        elif node.type == "script_parameter":
            for variable, _ in _declared(node):
                yield _variable(variable)
        elif node.type == "command":
            name, arguments = _call(node)
            for parameter, value in arguments.named:
                sets_variable = parameter in VARIABLE_SETTERS or (
                    parameter == "name" and name.lower() in ("set-variable", "new-variable")
                )
                if sets_variable and value is not None:
                    yield _text(value).strip("'\"+").lower()


def _read(source: bytes) -> _Script:
    script = _Script(source, _parser().parse(source).root_node)
    for node in _walk(script.root):
        if node.type == "function_statement":
            function = _own_function(node)
            script.functions[function.name.lower()] = function
    script.variables = {name for name in _assigned(script.root) if name is not None}
    return script


@dataclass(frozen=True)
class _Arguments:
    """Of one call: parameters by name (in lower case, as written) with the node after them, and the rest."""

    named: tuple[tuple[str, Node | None], ...]
    positional: tuple[Node, ...]
    splatted: bool

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.named)


def _call(node: Node, switches: frozenset[str] = frozenset()) -> tuple[str, _Arguments]:
    """A command's name ("" where it is computed) and its arguments; what follows a switch is not its value."""
    name = ""
    named: list[tuple[str, Node | None]] = []
    positional: list[Node] = []
    splatted = False
    for child in node.children:
        if child.type == "command_name":
            name = _text(child)
        elif child.type == "command_name_expr" and child.children and child.children[0].type == "string_literal":
            name = _text(child).strip("'\"")
        elif child.type == "command_elements":
            waiting = False
            for element in child.children:
                if element.type == "command_argument_sep":
                    # -Name:value gives a switch a value too.
                    waiting = waiting or _text(element) == ":"
                    continue
                # The grammar splits a method's arguments from the rest of `$a.Trim('x')`.
                if element.type in ("redirection", "argument_list"):
                    continue
                if element.type == "command_parameter":
                    parameter = _text(element).lstrip("-").split(":")[0].lower()
                    named.append((parameter, None))
                    waiting = parameter not in switches
                elif (
                    _text(element).startswith("@")
                    and len(element.children) == 1
                    and element.children[0].type == "variable"
                ):
                    splatted = True
                    waiting = False
                elif waiting:
                    named[-1] = (named[-1][0], element)
                    waiting = False
                else:
                    positional.append(element)
    return name, _Arguments(tuple(named), tuple(positional), splatted)


# --- the rules -----------------------------------------------------------------------------------


def _misuse(command: Command, arguments: _Arguments, fed: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with one call of a known command; `fed` where it stands behind a pipe."""
    unknown = False
    for parameter, _ in arguments.named:
        if parameter not in command.names:
            unknown = True
            meant = sorted(name for name in command.names if name.startswith(parameter))
            rule = "abbreviated parameter" if meant else "unknown parameter"
            yield rule, f"{command.name} -{parameter}" + (f" for -{' or -'.join(meant)}" if meant else "")
    if unknown or arguments.splatted:
        return
    given = arguments.names - COMMON
    fitting = [each for each in command.sets if given <= each.names]
    if not fitting:
        yield "parameters that do not go together", f"{command.name} -{' -'.join(sorted(given))}"
        return
    placed = len(arguments.positional)
    free = [[name for name in each.positional if name not in given] for each in fitting]
    missing = [
        each.mandatory - given - set(names[:placed])
        for each, names in zip(fitting, free, strict=True)
        if placed <= len(names)
    ]
    if not missing:
        yield "too many arguments", f"{command.name} {' '.join(_text(each) for each in arguments.positional)}"
    # A pipeline gives one parameter its value.
    elif all(len(each) > int(fed) for each in missing):
        yield "missing parameter", f"{command.name} without -{' or -'.join(sorted(frozenset().union(*missing)))}"


def _command_findings(node: Node, known: Mapping[str, Command]) -> Iterator[tuple[str, str]]:
    name, _ = _call(node)
    if not name:
        return
    bare = name.lower()
    if "\\" in name and not bare.endswith(".exe"):
        yield "module name", name
        return
    if bare in ("invoke-expression", "write-host"):
        yield "forbidden command", name
        return
    if bare in WRITERS:
        yield "encoding", f"{name} writes another encoding in 5.1 than in 7"
        return
    if bare.endswith(".exe"):
        return
    command = known.get(bare)
    if command is None:
        yield "unknown command", name
        return
    _, arguments = _call(node, command.switches)
    pipeline = node.parent
    fed = pipeline is not None and pipeline.named_children[0] != node
    yield from _misuse(command, arguments, fed)
    if bare == "convertto-json" and "depth" not in arguments.names:
        yield "depth", "ConvertTo-Json without -Depth stops at 2"
    if bare == "get-content" and "encoding" not in arguments.names:
        yield "encoding", "Get-Content without -Encoding reads the local code page in 5.1"
    if bare == "invoke-native" and arguments.positional:
        program = _text(arguments.positional[0])
        if program.startswith("'") and not program.lower().endswith(".exe'"):
            yield "program without .exe", program


def _static_types(node: Node) -> Iterator[tuple[str, str]]:
    """Type and member of a static access, or type and "" of New-Object and Add-Type."""
    if node.type in ("member_access", "invocation_expression") and any(_text(child) == "::" for child in node.children):
        member = next((_text(child) for child in node.children if child.type == "member_name"), "")
        yield _text(node.children[0]).strip("[]").lower(), member.lower()
    elif node.type == "command":
        name, arguments = _call(node)
        if name.lower() in ("new-object", "add-type"):
            kind = dict(arguments.named).get("typename") or (arguments.positional[0] if arguments.positional else None)
            yield ("" if kind is None else _text(kind).strip("'\"").lower().removesuffix("[]")), ""


def _is_boundary(function: Node | None) -> bool:
    return function is not None and function.end_point[0] - function.start_point[0] - 1 <= BOUNDARY_LINES


def check(source: bytes, beside: Iterable[bytes] = (), boundary: bool = False) -> list[Finding]:
    """What is wrong in a script, in the order of its lines.

    + beside: texts that are sent in front of it; their functions and variables are known in it
    + boundary: the whole script is one to .NET, which may then be called anywhere in it
    """
    findings: list[Finding] = []
    for number, characters in enumerate(source.split(b"\n"), start=1):
        if not characters.isascii():
            findings.append(Finding(number, "not ASCII", characters.decode(errors="replace").strip()))
    script = _read(source)
    known = dict(table())
    variables = set(AUTOMATIC) | script.variables
    for other in beside:
        library = _read(other)
        known |= library.functions
        variables |= library.variables
    known |= script.functions

    def found(node: Node, rule: str, text: str) -> None:
        findings.append(Finding(_line(node), rule, " ".join(text.split())[:120]))

    for node in _walk(script.root):
        if node.type == "ERROR" or node.is_missing:
            found(node, "syntax", _text(node) or f"{node.type} is missing")
        elif node.type in AFTER_5_1:
            found(node, "not in 5.1", AFTER_5_1[node.type])
        elif node.type == "assignment_operator" and _text(node) == "??=":
            found(node, "not in 5.1", "??=")
        elif node.type == "redirection":
            target = next((child for child in node.children if child.type == "redirected_file_name"), None)
            if target is not None and _text(target).strip().lower() != "$null":
                found(node, "encoding", f"{_text(node)} writes another encoding in 5.1 than in 7")
        elif node.type == "variable":
            name = _variable(node)
            if name == "input":
                found(node, "$input", "makes powershell.exe read standard input")
            elif name is not None and name not in variables:
                found(node, "unset variable", _text(node))
        if node.type == "command":
            for rule, text in _command_findings(node, known):
                found(node, rule, text)
        for kind, member in () if boundary else _static_types(node):
            harmless = PURE.fullmatch(kind) and member not in IMPURE_MEMBERS
            if not harmless and not _is_boundary(_inside(node, "function_statement")):
                found(node, ".NET outside of a function of its own", f"[{kind}]" + (f"::{member}" if member else ""))
    return sorted(set(findings))


if __name__ == "__main__":
    made = make_table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8-sig")))
    TABLE.write_bytes(gzip.compress(json.dumps(made, separators=(",", ":"), sort_keys=True).encode(), mtime=0))
    print(f"{len(made)} commands, {TABLE.stat().st_size} bytes")
