"""Saving what a host has: models that no registry has, with files that no registry brings; key; Modelfiles; drop-ins.

A host's registry is asked for each of its models. One that it has just so is noted with its name and digest and not
saved, nor is any file of it that other models share: whoever is made from it has little of its own. Where a registry
can't be reached, or with backup_all, everything is saved.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from functools import partial

from rich.filesize import decimal

from corral.backup import vault
from corral.backup.belongings import Belongings, Seen
from corral.backup.record import Backup, Blob, Key, Model, Text, digests
from corral.backup.vault import Vault, earlier
from corral.changes import Change
from corral.errors import CorralError
from corral.names import ModelName
from corral.ollama import registry
from corral.run import HostRun


def changes(run: HostRun) -> list[Change]:
    """What must be saved, or noted, so that the backup is what the host has now."""
    belongings, kept = Belongings.of(run), vault.of(run)
    backup = _backup(run, belongings.look(run))
    found = []
    lacking = {blob.sha256 for blob in kept.missing(backup.blobs.values())}
    for model in backup.models:
        missing = [blob for blob in model.blobs if not blob.pulled and blob.sha256 in lacking]
        lacking -= {blob.sha256 for blob in missing}
        if missing:
            name = ModelName.parse(model.name).short
            size = decimal(sum(blob.size for blob in missing))
            bring = partial(vault.bring, run, belongings.models(run), kept.place, missing, f"{name}:")
            found.append(Change(f"save the model {name} ({size}) in {kept.place.name}", bring))
    if backup.key and not kept.has_key(backup.key):
        save = partial(_save_key, belongings, run, kept, backup.key)
        found.append(Change(f"save the server's key in {kept.place.name}, for nobody else to read", save))
    before = _before(kept)
    if found or not backup.same_as(before):
        lines = (*_described(backup), *_gone(before, backup))
        found.append(Change(f"write {kept.place.name}/{kept.record}", partial(kept.write, backup), lines))
    return found


def _before(kept: Vault) -> Backup | None:
    try:
        return kept.read()
    except CorralError:  # damaged: it is written anew
        return None


def _backup(run: HostRun, seen: Seen) -> Backup:
    pulled = _pulled(run, seen)
    sources = {sha256: name for name in pulled for sha256 in digests(seen.manifests[name].text)}
    models = []
    for name, manifest in sorted(seen.manifests.items()):
        named = digests(manifest.text)
        lacking = [sha256 for sha256 in named if sha256 not in seen.blobs]
        if lacking or not named:
            run.warn(f"{ModelName.parse(name).short} is not saved: files of it are missing on the host")
            continue
        blobs = tuple(Blob(sha256=sha256, size=seen.blobs[sha256], pulled=sources.get(sha256, "")) for sha256 in named)
        text = "" if name in pulled else manifest.text
        models.append(Model(name=name, digest=manifest.digest, manifest=text, blobs=blobs))
    return Backup(
        host=run.name,
        taken=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        ollama=run.state.current.rpartition("/")[2],
        key=seen.key,
        models=tuple(models),
        modelfiles=seen.modelfiles,
        drop_ins=tuple(text for text in seen.drop_ins if _is_text(run, text)),
    )


def _pulled(run: HostRun, seen: Seen) -> set[str]:
    """The full names of the models that their registries have just so."""
    if run.settings.backup_all:
        return set()
    names = {ModelName.parse(name): name for name in seen.manifests}
    answers: Mapping[ModelName, registry.Manifest | CorralError] = registry.ask(run, list(names)).manifests
    return {
        names[name]
        for name, answer in answers.items()
        if isinstance(answer, dict)
        and set(digests(json.dumps(answer))) == set(digests(seen.manifests[names[name]].text))
    }


def _is_text(run: HostRun, text: Text) -> bool:
    if hashlib.sha256(text.text.encode()).hexdigest() == text.sha256:
        return True
    run.warn(f"{text.path} is not saved: it is no text in UTF-8")
    return False


def _save_key(belongings: Belongings, run: HostRun, kept: Vault, key: Key) -> None:
    data = belongings.keys(run).read("id_ed25519", 0, 1 << 16)
    kept.place.append(kept.key(key), 0, data)
    kept.place.finish(kept.key(key), key.sha256)


def _gone(before: Backup | None, backup: Backup) -> list[str]:
    """What was saved before and is not on the host any more."""
    if before is None:
        return []
    there = {model.name for model in backup.models}
    return [
        f"no longer there: {ModelName.parse(model.name).short}, which stays saved in {earlier(before)}"
        for model in before.models
        if model.saved and model.name not in there
    ]


def _described(backup: Backup) -> list[str]:
    """What is in a backup, in lines for people."""
    saved = [model for model in backup.models if model.saved]
    lines = []
    for model in saved:
        sources = sorted({ModelName.parse(blob.pulled).short for blob in model.blobs if blob.pulled})
        rest = f", the rest comes with {' and '.join(sources)} from its registry" if sources else ""
        own = decimal(sum(blob.size for blob in model.blobs if not blob.pulled))
        lines.append(f"saved: {ModelName.parse(model.name).short} ({own}{rest})")
    lines += [
        f"noted: {ModelName.parse(model.name).short}, which its registry has"
        for model in backup.models
        if not model.saved
    ]
    files = [text.path for text in (*backup.modelfiles, *backup.drop_ins)]
    return [*lines, *(f"saved: {path}" for path in files)]
