"""Bringing back what was saved of a host. What is there already stays as it is: nothing is overwritten.

Only the server's key is an exception, since every server makes itself one at its first start: the saved one takes its
place, and the one that was there stays beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial

from rich.filesize import decimal

from corral import layout
from corral.backup import vault
from corral.backup.belongings import Belongings, Seen
from corral.backup.record import Backup, Blob, Key, Model, Text
from corral.backup.vault import Vault
from corral.changes import Change
from corral.errors import CorralError
from corral.names import ModelName
from corral.ollama import api
from corral.probe.state import LinuxState
from corral.run import HostRun
from corral.scripts import Script


def changes(run: HostRun) -> list[Change]:
    """What must be brought back. None, and a warning, for a host of which nothing was saved."""
    belongings, kept = Belongings.of(run), vault.of(run)
    backup = kept.read()
    if backup is None:
        run.warn(f"there is no backup of {run.name} in {kept.place.name}: nothing is restored")
        return []
    assert isinstance(run.state, LinuxState)
    if run.host.state.is_executing and not run.state.user_groups:  # what comes before may make it
        raise CorralError(f"this host has no user {layout.USER}, whose models they are", "Run deploys/r1.py first")
    seen = belongings.look(run)
    absent = _absent(run, backup, seen)
    key = backup.key if backup.key and (seen.key is None or seen.key.sha256 != backup.key.sha256) else None
    found = _models(run, belongings, kept, absent, seen)
    if key:
        found.append(
            Change(
                f"put back the server's key in {belongings.key_dir}"
                + ("; the one that is there stays as id_ed25519.replaced" if seen.key else ""),
                partial(_put_key, run, belongings, kept, key),
            )
        )
    found += _texts(run, backup, seen)
    blobs = _needed(absent, seen)
    if found and (blobs or key):
        _check_sizes(kept, blobs)
        size = decimal(sum(blob.size for blob in blobs))
        check = Change(f"see that the backup in {kept.place.name} is whole ({size})", partial(kept.check, blobs, key))
        found.insert(0, check)
    return found


def require(run: HostRun) -> None:
    """Raises CorralError where nothing was saved of a host."""
    kept = vault.of(run)
    if kept.read() is None:
        raise CorralError(
            f"there is no backup of {run.name} in {kept.place.name}",
            "Correct backup_dir, or back up first: deploys/backup.py",
        )


def _absent(run: HostRun, backup: Backup, seen: Seen) -> list[Model]:
    """The models that the host lacks; one that is there and another than was saved is only told of."""
    there = {ModelName.parse(full): manifest.digest for full, manifest in seen.manifests.items()}
    declared = {ModelName.parse(spec.name) for spec in run.settings.models}
    found = []
    for model in backup.models:
        name = ModelName.parse(model.name)
        if name not in there:
            found.append(model)
        elif model.saved and there[name] != model.digest and name not in declared:
            run.warn(
                f"{name.short} stays as it is on the host, which is not the one that was saved; to have that one, "
                f"remove it (ollama rm {name.short}) and run again"
            )
    return found


def _needed(models: Sequence[Model], seen: Seen) -> list[Blob]:
    """The saved files that the host lacks, each once."""
    found = {
        blob.sha256: blob
        for model in models
        for blob in model.blobs
        if model.saved and not blob.pulled and seen.blobs.get(blob.sha256) != blob.size
    }
    return list(found.values())


def _check_sizes(kept: Vault, blobs: Sequence[Blob]) -> None:
    missing = kept.missing(blobs)
    if missing:
        raise CorralError(
            f"the backup's file {kept.place.name}/{vault.blob_path(missing[0])} is missing or not of its full length",
            "Back up again from a host that has the model, or restore the file from a copy of yours",
        )


def _models(run: HostRun, belongings: Belongings, kept: Vault, absent: Sequence[Model], seen: Seen) -> list[Change]:
    found = []
    for model in absent:
        if not model.saved:
            name = ModelName.parse(model.name).short
            found.append(Change(f"pull {name}, which was there", partial(_pull, run, model)))
    for model in absent:
        if model.saved:
            size = decimal(sum(blob.size for blob in _needed([model], seen)))
            found.append(
                Change(
                    f"put back the model {ModelName.parse(model.name).short} ({size})",
                    partial(_put_model, run, belongings, kept, model),
                )
            )
    return found


def _pull(run: HostRun, model: Model) -> None:
    name = ModelName.parse(model.name)
    if not run.state.server.running:
        raise CorralError(
            f"Ollama does not run on this host, so {name.short} can't be pulled", "Run deploys/r1.py first"
        )
    with api.said(f"pulling {name.short}"):
        api.follow(run.api.pull(name.short, stream=True), run.say)


def _put_model(run: HostRun, belongings: Belongings, kept: Vault, model: Model) -> None:
    seen = belongings.look(run)
    for blob in model.blobs:
        if blob.pulled and blob.sha256 not in seen.blobs:
            source = ModelName.parse(blob.pulled).short
            raise CorralError(
                f"{ModelName.parse(model.name).short} needs a file that {source} brought when it was saved, and "
                f"{source} is another model in its registry by now",
                "Where you have a host with it, back that up with backup_all: true",
                f"SHA-256 of the file: {blob.sha256}",
            )
    place = belongings.models(run)
    name = ModelName.parse(model.name)
    vault.bring(run, kept.place, place, _needed([model], seen), f"{name.short}:")
    path = f"manifests/{name.host}/{name.namespace}/{name.model}/{name.tag}"
    place.append(path, 0, model.manifest.encode())
    place.finish(path, model.digest)
    run.remote.run(Script("service/remove.sh", {"PATHS": [f"{place.directory}/.corral"], "EMPTY": [], "LAST": ""}))


def _put_key(run: HostRun, belongings: Belongings, kept: Vault, key: Key) -> None:
    place = belongings.keys(run)
    run.remote.run(Script("backup/set_aside.sh", {"FILES": [f"{belongings.key_dir}/id_ed25519"]}))
    public = key.public.encode()
    if public:
        place.append("id_ed25519.pub", 0, public)
        place.finish("id_ed25519.pub", hashlib.sha256(public).hexdigest())
    place.append("id_ed25519", 0, kept.place.read(kept.key(key), 0, 1 << 16))
    place.finish("id_ed25519", key.sha256)


def _texts(run: HostRun, backup: Backup, seen: Seen) -> list[Change]:
    there: Mapping[str, Text] = {text.path: text for text in (*seen.modelfiles, *seen.drop_ins)}
    found = [Change(f"put back {text.path}", _write(text)) for text in backup.modelfiles if text.path not in there]
    drop_ins = [text for text in backup.drop_ins if text.path not in there]
    found += [Change(f"put back {text.path}", _write(text)) for text in drop_ins]
    if drop_ins and run.state.server.running:
        found.append(
            Change(
                f"restart {layout.SERVICE} with what was put back",
                Script(
                    "service/activate.sh",
                    {
                        "SERVICE": layout.SERVICE,
                        "ADDRESS": run.environment.own_address,
                        "PORT": run.port,
                        "RESTART": True,
                        "TIMEOUT_S": run.settings.start_timeout_s,
                    },
                ),
            )
        )
    return found


def _write(text: Text) -> Script:
    return Script("service/write_file.sh", {"FILE": text.path, "MODE": text.mode, "TEXT": text.text})
