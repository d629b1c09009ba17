"""Where backups are kept: a directory here, or on a host or client of the inventory.

blobs/sha256-<hex>                     files of models, of all hosts; the same one is there once
hosts/<host>/backup.json               what was saved of a host
hosts/<host>/backup-<time>.json        what was saved of it before; nothing is ever removed
hosts/<host>/id_ed25519-<hex>          its server's key
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pyinfra.api.exceptions import ConnectError

from corral import clients
from corral.backup.places import Here, Place, Progress, There, copy
from corral.backup.record import Backup, Blob, Key
from corral.errors import CorralError
from corral.remote import Remote
from corral.secret import Sources

if TYPE_CHECKING:
    from corral.run import HostRun

#: HOST:/directory, as in backup_dir.
ELSEWHERE = re.compile(r"([^/:]+):(/.*)")


@dataclass(frozen=True)
class Vault:
    """The backups of a host. place: the directory of all hosts' backups."""

    place: Place
    host: str

    @property
    def record(self) -> str:
        return f"hosts/{self.host}/backup.json"

    def key(self, key: Key) -> str:
        return f"hosts/{self.host}/id_ed25519-{key.sha256[:12]}"

    def read(self) -> Backup | None:
        """What was saved of the host; None for nothing. Raises CorralError for a damaged record."""
        (size,) = self.place.look([self.record])
        if size.whole < 0:
            return None
        text = self.place.read(self.record, 0, size.whole).decode("utf-8", "replace")
        return Backup.parse(text, f"{self.place.name}/{self.record}")

    def write(self, backup: Backup) -> None:
        """Let this be what was saved of the host; what was before stays beside it."""
        with suppress(CorralError):  # of what is damaged nothing need be kept
            if old := self.read():
                self._write(f"hosts/{self.host}/{earlier(old)}", old.text)
        self._write(self.record, backup.text)

    def missing(self, blobs: Iterable[Blob]) -> list[Blob]:
        """Those that are not here in their full length."""
        wanted = list(blobs)
        sizes = self.place.look([blob_path(blob) for blob in wanted])
        return [blob for blob, size in zip(wanted, sizes, strict=True) if size.whole != blob.size]

    def has_key(self, key: Key) -> bool:
        return self.place.look([self.key(key)])[0].whole > 0

    def check(self, blobs: Iterable[Blob], key: Key | None) -> None:
        """Raises CorralError, naming the file, unless all these are what their SHA-256 says."""
        wanted = {blob_path(blob): blob.sha256 for blob in blobs}
        if key:
            wanted[self.key(key)] = key.sha256
        for (path, sha256), got in zip(wanted.items(), self.place.digests(list(wanted)), strict=True):
            if got != sha256:
                what = "can't be read" if got == "-" else f"is damaged: its SHA-256 is {got}"
                raise CorralError(
                    f"the backup's file {self.place.name}/{path} {what}",
                    "Delete it and back up again from a host that has the model, or restore it from a copy of yours",
                )

    def _write(self, path: str, text: str) -> None:
        content = text.encode()
        self.place.append(path, 0, content)
        self.place.finish(path, hashlib.sha256(content).hexdigest())


def earlier(backup: Backup) -> str:
    """The file that a backup is kept in when there is a later one."""
    return f"backup-{backup.taken.replace(':', '')}.json"


def blob_path(blob: Blob) -> str:
    return f"blobs/sha256-{blob.sha256}"


def of(run: HostRun) -> Vault:
    """The one that is declared for a host. Raises CorralError where it can't be reached."""
    declared = run.settings.backup_dir
    unfinished = partial(_unfinished, run.name)
    if elsewhere := ELSEWHERE.fullmatch(declared):
        name, directory = elsewhere.groups()
        return Vault(There(name, _remote(run, name), directory.rstrip("/"), unfinished), run.name)
    sources = Sources(run.inventory_path.parent, os.environ)
    return Vault(Here(sources.resolve(declared), unfinished), run.name)


def _unfinished(host: str, path: str) -> str:
    """Two hosts may bring the same file at a time."""
    return f"{path}.{host}.partial"


def _remote(run: HostRun, name: str) -> Remote:
    if name == run.name:
        raise CorralError(
            f"backup_dir: {name} would keep the backup of itself, which is lost with it", "Name another host"
        )
    hosts, others = run.inventory.hosts, run.inventory.clients
    if name in hosts and hosts[name].connection.os == "linux":
        data = {"ssh_hostname": name, **hosts[name].connection.data()}
    elif name in others:
        data = others[name].connection()
    else:
        raise CorralError(
            f"backup_dir: {name} is no Linux host and no client of the inventory",
            "Name one, or a directory on this machine",
        )
    try:
        return clients.reach(str(run.inventory.path), {name: data}, name)
    except ConnectError as error:
        raise CorralError(
            f"backup_dir: {name}, which keeps the backups, can't be reached: {error}", "Switch it on, or name another"
        ) from error


def bring(run: HostRun, source: Place, target: Place, blobs: Iterable[Blob], doing: str) -> None:
    """Bring files of models from one place to another."""
    wanted = list(blobs)
    progress = Progress(run.say, doing, sum(blob.size for blob in wanted))
    for blob in wanted:
        copy(source, blob_path(blob), target, blob_path(blob), blob.sha256, blob.size, progress)
