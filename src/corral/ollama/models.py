"""The declared models of a host: what is missing or different there, and making it so through the API.

A model is made from its base with a Modelfile that also lies on the host, where people can read it. Its
last lines record the digest of the manifest that came of it, and the base if it was pulled for it: as long as the
server lists that digest and the text is the same, nothing was changed and nothing need be asked. Otherwise the
model that is there is compared in meaning. What the records name is corral's own to remove (sync_models).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jinja2
import ollama
from rich.filesize import decimal

from corral import layout, modelfile, versions
from corral.changes import Change
from corral.drift import drift
from corral.errors import CorralError
from corral.meaning import Meaning, base_of, effective
from corral.modelfile import Modelfile
from corral.names import GgufFile, ModelName, classify_from
from corral.ollama import api, files, registry
from corral.ollama.files import LocalFile
from corral.ollama.records import EngineNote, Record
from corral.planner.models import FileModel
from corral.platforms import Platform
from corral.run import HostRun
from corral.scripts import Script
from corral.settings import ModelSpec

#: Of a GGUF file and the small layers beside it: the tokenizer is most of it.
MOST_HEADER_BYTES = 64_000_000
#: No driver keeps more: somebody took memory while the engine was asked, which is not to be remembered.
MOST_OVERHEAD_MIB = 1536


@dataclass(frozen=True)
class Wanted:
    """A declared model, worked out for one host.

    text: the Modelfile as it shall lie on the host, without the record of its manifest.
    source: the model or the file on the controller that it is made from.
    files: what is to be uploaded for it, by the path of the blob that FROM or ADAPTER names.
    platform: of the host.
    """

    spec: ModelSpec
    name: ModelName
    source: ModelName | GgufFile
    files: Mapping[str, LocalFile]
    text: str
    modelfile: Modelfile
    platform: Platform

    @property
    def path(self) -> str:
        """Of its Modelfile on the host."""
        return self.platform.modelfile_path(self.file)

    @property
    def file(self) -> str:
        """The name of that file."""
        return layout.modelfile_name(self.name.short)

    @property
    def digests(self) -> dict[str, str]:
        """Of its files, by the paths in the Modelfile."""
        return {path: file.digest for path, file in self.files.items()}

    @property
    def summary(self) -> str:
        parameters = ", ".join(f"{key} {value}" for key, value in self.spec.parameters.items() if key != "stop")
        return f"{self.name.short} from {self.spec.from_}" + (f" ({parameters})" if parameters else "")


def wanted_models(run: HostRun) -> list[Wanted]:
    """The host's declared models, their Modelfiles rendered. Raises CorralError for one that can't be made."""
    return [_wanted(run, spec) for spec in run.models]


def _wanted(run: HostRun, spec: ModelSpec) -> Wanted:
    try:
        name = ModelName.parse(spec.name)
        source = classify_from(spec.from_)
        base = files.local_file(run.inventory_path, "from", source.path) if isinstance(source, GgufFile) else None
        uploads = {run.blob(base.sha256): base} if base else {}
        rendered = modelfile.render(
            _declared(run, spec, run.blob(base.sha256) if base else spec.from_),
            name=spec.name,
            host=run.name,
            loader=jinja2.FileSystemLoader(run.project / "templates/modelfiles"),
            template=spec.modelfile,
            variables=run.settings.modelfile_variables,
        )
        if rendered.modelfile.adapter:
            adapter = _adapter(run, rendered.modelfile.adapter)
            uploads[run.blob(adapter.sha256)] = adapter
            rendered = modelfile.with_adapter(rendered, run.blob(adapter.sha256))
        return Wanted(spec, name, source, uploads, rendered.text, rendered.modelfile, run.platform)
    except CorralError as error:
        raise CorralError(f"models: {spec.name}: {error.problem}", error.remedy, error.detail) from error


def _declared(run: HostRun, spec: ModelSpec, from_: str) -> Modelfile:
    parameters = modelfile.parameters(spec.parameters)
    template = ""
    if spec.template is not None:
        chat = modelfile.chat_template(spec.template, [run.project / "templates/chat"])
        template = chat.text
        if chat.stop:
            parameters.setdefault("stop", chat.stop)
    return Modelfile(from_, parameters, template, spec.system or "")


def _adapter(run: HostRun, path: str) -> LocalFile:
    """The LoRA adapter that an ADAPTER line names. Raises CorralError for what the server would not take for one."""
    version = run.settings.ollama_version
    if versions.numbers(version) > modelfile.LAST_WITH_ADAPTERS:
        last = ".".join(map(str, modelfile.LAST_WITH_ADAPTERS))
        raise CorralError(
            f"ADAPTER: Ollama {version} makes no models with adapters any more",
            f"Merge the adapter into its model's weights and name that file with from, or declare {last} or older",
        )
    found = files.local_file(run.inventory_path, "ADAPTER", path)
    from corral import gguf_header  # and with it the gguf library, see planner.models

    kind = gguf_header.read_file(found.path).metadata.get("general.type")
    if kind != "adapter":
        raise CorralError(f"ADAPTER: {path} is a GGUF file, but no adapter", "Name a LoRA adapter in GGUF's format")
    return found


def check(run: HostRun) -> None:
    """Before anything is changed: can every declared model be had, and is there room for it? Raises CorralError."""
    wanted = wanted_models(run)
    here = {ModelName.parse(name) for name in (*run.state.manifests, *run.state.to_move)}
    missing = {w.source: w for w in wanted if isinstance(w.source, ModelName) and w.source not in here}
    uploads = {file.sha256: file for w in wanted if w.name not in here for file in w.files.values()}
    # Ollama keeps a file as it is (create.go of 0.34.4).
    need = sum(file.path.stat().st_size for file in uploads.values())
    for (source, which), size in zip(missing.items(), _registry_sizes(run, list(missing)), strict=True):
        if isinstance(size, CorralError):
            raise CorralError(
                f"models: {which.spec.name}: from: {source.short}: {size.problem}", size.remedy, size.detail
            )
        need += size.missing
        _check_plan(run, which, size.whole)
    free = run.state.free_for_models - run.state.to_move_bytes
    if need > free:
        moved = f" besides {decimal(run.state.to_move_bytes)} for those to be moved" if run.state.to_move_bytes else ""
        raise CorralError(
            f"models_dir: the disk of {run.settings.models_dir} has {decimal(free)} free{moved}, "
            f"the declared models need {decimal(need)} more",
            "Free some space, declare another models_dir, or choose a smaller model",
        )


def _check_plan(run: HostRun, wanted: Wanted, whole: int) -> None:
    """Tags move, and a plan for another model is worth nothing: a file has the tensors' bytes and a header."""
    plan = run.planned.plans.get(wanted.spec.name)
    # A model that the catalog lacks was planned by the very file that the registry has.
    if plan is None or isinstance(plan.entry, FileModel) or run.is_stand_in(plan):
        return
    tensors = plan.entry.weights(plan.quantization).file
    if not tensors <= whole <= tensors + MOST_HEADER_BYTES:
        raise CorralError(
            f"models: {wanted.spec.name}: plan: {wanted.spec.from_} is {decimal(whole)} in its registry, but "
            f"{plan.entry.title} at {plan.quantization} is {decimal(tensors)}: the name leads to another model by now",
            "Name the model that you want with from; corral's catalog needs a new name for it",
        )


class _Size(NamedTuple):
    """A model's bytes: all of them, and those still to be downloaded."""

    whole: int
    missing: int


def _registry_sizes(run: HostRun, names: Sequence[ModelName]) -> Iterator[_Size | CorralError]:
    """For each model its size, as its registry says to the host; or why it can't be had."""
    answer = registry.ask(run, names)
    for name in names:
        manifest = answer.manifests[name]
        yield manifest if isinstance(manifest, CorralError) else _size(name, manifest, answer.present)


def _size(name: ModelName, manifest: registry.Manifest, present: Mapping[str, int]) -> _Size | CorralError:
    try:
        layers = [manifest["config"], *manifest["layers"]]
        here = sum(present.get(one["digest"].replace(":", "-"), 0) for one in layers)
        whole = sum(int(one["size"]) for one in layers)
        return _Size(whole, whole - here)
    except (ValueError, KeyError, TypeError):
        return registry.odd(name, "200", json.dumps(manifest))


def changes(run: HostRun) -> list[Change]:
    """What must be pulled, made or made again. Asks the server only if the wanted one is running."""
    wanted = wanted_models(run)
    sync = run.settings.sync_models
    if not wanted and not (sync and run.state.modelfiles):
        return []
    if not run.serves:
        return [Change(f"make the model {w.summary}", _nobody_serves) for w in wanted]
    with api.said("listing the models"):
        listed = {ModelName.parse(m.model or ""): m.digest or "" for m in run.api.list().models}
    found: dict[str, Change] = {}
    for model in wanted:
        # Several models may be made from one base, which is pulled once.
        found |= {change.summary: change for change in _changes(run, model, listed)}
    return [*found.values(), *(_removals(run, wanted, listed) if sync else [])]


def _removals(run: HostRun, wanted: Sequence[Wanted], listed: Mapping[ModelName, str]) -> list[Change]:
    """Models that corral has made or pulled here and that nothing declares any more. One that somebody has made
    again since stays, and so does what somebody has pulled."""
    needed = {w.name for w in wanted} | {w.source for w in wanted}
    declared = {w.file for w in wanted}
    found = []
    for file, text in sorted(run.state.modelfiles.items()):
        record = Record.read(text)
        noted = (record.made(file, listed), record.pulled)
        ours = [name for name in noted if name is not None and name in listed and name not in needed]
        if file in declared and ours == []:
            continue
        needed |= {*ours}  # what several were made from goes once
        script = None if file in declared else run.platform.remove_modelfile(file)
        if ours or (script and record.digest and not record.replaced(file, listed)):
            names = " and ".join(name.short for name in ours)
            what = f"the model {names}" if ours else run.platform.modelfile_path(file)
            found.append(Change(f"remove {what}, which is no longer declared", partial(_remove, run, ours, script)))
    return found


def _remove(run: HostRun, names: Sequence[ModelName], script: Script | None) -> None:
    for name in names:
        with api.said(f"removing {name.short}"):
            # What is loaded would stay in the GPU's memory, and be listed under a name that nobody knows.
            api.unload(run.api, name.short)
            run.api.delete(name.short)
    if script:
        run.remote.run(script)


def _nobody_serves() -> None:
    raise CorralError(
        "the declared Ollama does not run on this host, so no model can be made", "Set it up with deploys/r1.py"
    )


def _changes(run: HostRun, wanted: Wanted, listed: Mapping[ModelName, str]) -> list[Change]:
    digest = listed.get(wanted.name, "")
    record = Record.read(run.state.modelfile(wanted.spec.name))
    if digest and (record.text, record.digest) == (wanted.text.rstrip(), digest):
        return []
    base_is_here = isinstance(wanted.source, GgufFile) or wanted.source in listed
    difference: list[str] = []
    if digest and base_is_here:
        difference = drift_on_host(run, wanted)
        if not difference:
            return [Change(f"write {wanted.path}", _record_script(run, wanted, digest, record.pulled))]
    changes = []
    if isinstance(wanted.source, ModelName) and not base_is_here:
        changes.append(Change(f"pull {wanted.source.short}", lambda: _pull(run, wanted)))
    again = " again, which is not as declared:" if difference else ""
    pulled = record.pulled if base_is_here else wanted.source
    make = partial(_create, run, wanted, pulled)
    changes.append(Change(f"make the model {wanted.summary}{again}", make, tuple(difference)))
    return changes


def drift_on_host(run: HostRun, wanted: Wanted, base_is_here: bool = True) -> list[str]:
    """How the model that is there differs in meaning from the one that is declared; see drift.drift.

    Where its base is no longer there, only what the declaration itself says is compared.
    """
    with api.said(f"looking at {wanted.name.short}"):
        seen = Meaning.of_show(api.show(run.api, wanted.name.short))
        if isinstance(wanted.source, GgufFile):
            base = Meaning.of_gguf(wanted.digests[wanted.modelfile.from_])
        else:
            shown = api.show(run.api, wanted.source.short) if base_is_here else None
            base = Meaning.of_show(shown) if shown else base_of(seen, wanted.modelfile)
    return drift(effective(base, wanted.modelfile, wanted.digests), seen)


def _pull(run: HostRun, wanted: Wanted) -> None:
    assert isinstance(wanted.source, ModelName)
    with api.said(f"pulling {wanted.source.short}"):
        api.follow(run.api.pull(wanted.source.short, stream=True), run.say)


def _create(run: HostRun, wanted: Wanted, pulled: ModelName | GgufFile | None) -> None:
    """pulled: the base that corral has pulled for it, now or at an earlier run."""
    for file in wanted.files.values():
        _upload(run, file)
    request = modelfile.to_create_request(wanted.modelfile, wanted.name.short, wanted.digests)
    with api.said(f"making the model {wanted.name.short}"):
        # What is loaded under the name would stay in the GPU's memory beside the new one; 404 where there is none yet.
        api.http(run.api).post("/api/generate", json={"model": wanted.name.short, "keep_alive": 0, "stream": False})
        api.follow(api.create(run.api, request), run.say)
        listed = run.api.list().models
    digest = next((m.digest or "" for m in listed if ModelName.parse(m.model or "") == wanted.name), "")
    run.remote.run(_record_script(run, wanted, digest, pulled))


def _upload(run: HostRun, file: LocalFile) -> None:
    """Send a file to the server, unless it has it."""
    url = f"/api/blobs/{file.digest}"
    with api.said(f"uploading {file.path.name}"):
        if api.http(run.api).head(url).status_code == 200:
            return
        answer = api.http(run.api).post(url, content=api.chunks(file.path, run.say))
        if answer.status_code >= 300:
            raise ollama.ResponseError(answer.text, answer.status_code)


def note_loaded(run: HostRun, name: str, loaded: str) -> Script:
    """Notes below a model's Modelfile on the host how the model was loaded; see Record."""
    file = layout.modelfile_name(ModelName.parse(name).short)
    record = replace(Record.read(run.state.modelfiles[file]), loaded=loaded)
    return run.platform.write_modelfile(file, record.file)


def _record_script(run: HostRun, wanted: Wanted, digest: str, pulled: ModelName | GgufFile | None) -> Script:
    engine, told, plan = None, run.planned.told, run.planned.plans.get(wanted.spec.name)
    if plan and told and told.overhead_mib <= MOST_OVERHEAD_MIB:
        correction_mib = told.corrections_mib.get(plan.reference, 0)
        engine = EngineNote(run.settings.ollama_version, told.overhead_mib, correction_mib)
    record = Record(wanted.text.rstrip(), digest, pulled if isinstance(pulled, ModelName) else None, engine)
    return run.platform.write_modelfile(wanted.file, record.file)
