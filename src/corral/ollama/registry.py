"""What registries say of models to a host: it asks, since its network, proxy and certificates are those of a pull."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corral.errors import CorralError
from corral.names import ModelName

if TYPE_CHECKING:
    from corral.run import HostRun

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What was said. manifests: by model, or why it can't be had. present: bytes on the host by a blob's file name."""

    manifests: Mapping[ModelName, Manifest | CorralError]
    present: Mapping[str, int]


def ask(run: HostRun, names: Sequence[ModelName], here: Mapping[ModelName, str] | None = None) -> Answer:
    """The manifests of models, in one remote command; none for no names.

    here: the manifests' paths on the host for models whose own is wanted, not the registry's.
    """
    if not names:
        return Answer({}, {})
    answer = run.remote.run(
        run.platform.manifests(
            [(here or {}).get(name) or name.manifest_url for name in names],
            run.platform.join(run.models_place, "blobs"),
            run.proxy,
        )
    )
    present = (line.split() for line in answer.get("blobs", "").splitlines())
    return Answer(
        {name: _manifest(answer.get(f"manifest.{number}", ""), name) for number, name in enumerate(names)},
        {blob: int(size) for blob, size in present},
    )


def _manifest(answer: str, name: ModelName) -> Manifest | CorralError:
    body, _, status = answer.rpartition("\n")
    if status == "404":
        return CorralError("the registry has no such model", "Check the name and the tag on the registry's pages")
    if status == "000":
        return unreachable(body.strip()[-300:])
    try:
        manifest = json.loads(body) if status == "200" else None
    except (ValueError, RecursionError):
        manifest = None
    return manifest if isinstance(manifest, dict) else odd(name, status, body)


def odd(name: ModelName, status: str, body: str) -> CorralError:
    """For an answer that is no manifest."""
    return CorralError(f"the registry answers {status}", f"Look at {name.manifest_url} in a browser", body[-300:])


def unreachable(detail: str) -> CorralError:
    return CorralError(
        "the registry can't be reached from the host", "Check the host's network, or declare proxy", detail
    )
