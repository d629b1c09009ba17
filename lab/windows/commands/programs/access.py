"""icacls.exe. Source: Microsoft, "icacls"; messages as it prints them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lab.windows.machine import acl
from lab.windows.machine.acl import Entry
from lab.windows.machine.errors import ACCESS_DENIED, NotModelled, Win32Error
from lab.windows.machine.files import Entry as File

from ..sddl import parse_rights, shown_rights
from .running import Invocation

#: ERROR_NONE_MAPPED, ERROR_INVALID_PARAMETER.
NONE_MAPPED, INVALID_PARAMETER = 1332, 87


@dataclass(frozen=True)
class Change:
    """One of the changes on the command line: grant, replace, deny, remove, owner."""

    kind: str
    sid: str
    rights: int = 0
    flags: int = 0


class _Wrong(Exception):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def icacls(call: Invocation) -> int:
    try:
        return _run(call)
    except _Wrong as wrong:
        call.complain(str(wrong))
        return wrong.code


def _run(call: Invocation) -> int:
    if not call.arguments:
        raise NotModelled("icacls.exe without arguments")
    path, words = call.arguments[0], call.arguments[1:]
    inheritance = ""
    changes: list[Change] = []
    recurse = quiet = go_on = reset = False
    position = 0
    while position < len(words):
        word = words[position].lower()
        position += 1
        if word.startswith("/inheritance:") and word[-1] in "edr" and len(word) == 14:
            inheritance = word[-1]
        elif word in ("/grant", "/grant:r", "/deny"):
            kind = {"/grant": "grant", "/grant:r": "replace", "/deny": "deny"}[word]
            taken = 0
            while position < len(words) and not words[position].startswith("/"):
                changes.append(_granted(call, kind, words[position]))
                position += 1
                taken += 1
            if not taken:
                raise _invalid(word)
        elif word in ("/remove", "/remove:g", "/remove:d"):
            while position < len(words) and not words[position].startswith("/"):
                changes.append(Change(word[1:], _sid(call, words[position])))
                position += 1
        elif word == "/setowner":
            if position >= len(words):
                raise _invalid(word)
            changes.append(Change("owner", _sid(call, words[position])))
            position += 1
        elif word == "/reset":
            reset = True
        elif word in ("/t", "/c", "/q", "/l"):
            recurse |= word == "/t"
            go_on |= word == "/c"
            quiet |= word == "/q"
        else:
            raise _invalid(words[position - 1])
    files = call.shell.session.files
    try:
        first = files.entry(path)
    except Win32Error as error:
        call.complain(f"{path}: {error.text}")
        return _summed(call, 0, 1, quiet, error.code)
    if not call.shell.machine.volumes.get(first.path.drive).keeps_acls:
        call.complain(f"{path}: The parameter is incorrect.")
        return _summed(call, 0, 1, quiet, INVALID_PARAMETER)
    done = failed = code = 0
    targets = [first, *(files.walk(first.path) if recurse and first.is_directory else ())]
    for entry in targets:
        shown = path + str(entry.path)[len(str(first.path)) :]
        try:
            if changes or inheritance or reset:
                _apply(call, entry, inheritance, changes, reset)
                if not quiet:
                    call.say(f"processed file: {shown}" if not call.chinese else f"已处理的文件: {shown}")
            else:
                for line in _listed(call, entry, shown):
                    call.say(line)
            done += 1
        except Win32Error as error:
            failed += 1
            code = error.code
            call.complain(f"{shown}: {error.text}")
            if not go_on:
                break
    return _summed(call, done, failed, quiet, code)


def _summed(call: Invocation, done: int, failed: int, quiet: bool, code: int) -> int:
    if not quiet or failed:
        if call.chinese:
            call.say(f"已成功处理 {done} 个文件; 处理 {failed} 个文件时失败")
        else:
            call.say(f"Successfully processed {done} files; Failed processing {failed} files")
    return code


def _apply(call: Invocation, entry: File, inheritance: str, changes: list[Change], reset: bool) -> None:
    acls = call.shell.machine.acls
    current = acls.get(entry.path, entry.is_directory)
    identity = call.shell.session.identity
    if not current.grants(identity, acl.WRITE_DAC):
        raise Win32Error(ACCESS_DENIED, str(entry.path))
    own = [] if reset else [one for one in current.entries if not one.inherited]
    protected = current.protected and not reset
    if inheritance == "r":
        protected = True
    elif inheritance == "d":
        own += [replace(one, inherited=False) for one in current.entries if one.inherited]
        protected = True
    elif inheritance == "e":
        protected = False
    for change in changes:
        flags = change.flags if entry.is_directory else 0
        if change.kind == "owner":
            acls.set_owner(entry.path, change.sid)
        elif change.kind.startswith("remove"):
            kinds = {"remove": (True, False), "remove:g": (True,), "remove:d": (False,)}[change.kind]
            own = [one for one in own if one.sid != change.sid or one.allow not in kinds]
        elif change.kind == "replace":
            own = [one for one in own if one.sid != change.sid or not one.allow]
            own.append(Entry(change.sid, change.rights, flags))
        else:
            allow = change.kind == "grant"
            same = [one for one in own if (one.sid, one.allow, one.flags) == (change.sid, allow, flags)]
            if same:
                merged = replace(same[0], rights=same[0].rights | change.rights)
                own = [merged if one is same[0] else one for one in own]
            else:
                own.append(Entry(change.sid, change.rights, flags, allow))
    acls.set_entries(entry.path, own, protected)


def _listed(call: Invocation, entry: File, shown: str) -> Iterator[str]:
    listed = call.shell.machine.acls.get(entry.path, entry.is_directory)
    for number, one in enumerate(listed.entries):
        name = call.shell.machine.accounts.name_of(one.sid) or one.sid
        start = f"{shown} " if not number else " " * (len(shown) + 1)
        yield f"{start}{name}:{shown_rights(one)}"
    yield ""


def _granted(call: Invocation, kind: str, text: str) -> Change:
    name, colon, rights = text.rpartition(":")
    if not colon:
        raise _invalid(text)
    try:
        mask, flags = parse_rights(rights)
    except ValueError:
        raise _invalid(text) from None
    return Change(kind, _sid(call, name), mask, flags)


def _sid(call: Invocation, name: str) -> str:
    if name.startswith("*"):
        if not name[1:].upper().startswith("S-1-"):
            raise _Wrong(f"{name}: No mapping between account names and security IDs was done.", NONE_MAPPED)
        return name[1:].upper()
    found = call.shell.machine.accounts.sid_of(name)
    if found is None:
        raise _Wrong(f"{name}: No mapping between account names and security IDs was done.", NONE_MAPPED)
    return found


def _invalid(word: str) -> _Wrong:
    return _Wrong(f'Invalid parameter "{word}"', INVALID_PARAMETER)
