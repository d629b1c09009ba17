"""Ollama's HTTP API on a host, through the connection that pyinfra already has.

Nothing needs to be exposed first, and the official client does the talking: only its transport is ours.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore
import httpx
import ollama
from rich.filesize import decimal

from corral.errors import CorralError
from corral.meaning import Meaning
from corral.names import ModelName
from corral.remote import LinkBroken, Remote, Stream

CONNECT_TIMEOUT_S = 10.0


class _Wire(httpcore.NetworkStream):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._stream.recv(max_bytes, timeout)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._stream.sendall(buffer, timeout)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return None


class _Dialer(httpcore.NetworkBackend):
    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            return _Wire(self._remote.dial(host, port, timeout or CONNECT_TIMEOUT_S))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error


class _Transport(httpx.HTTPTransport):
    def __init__(self, remote: Remote) -> None:
        super().__init__()
        self._pool = httpcore.ConnectionPool(network_backend=_Dialer(remote), keepalive_expiry=60)


def connect(remote: Remote, address: str, port: int, timeout_s: float) -> ollama.Client:
    """The official client for the server at address:port as seen from remote's end.

    timeout_s: how long one answer, or one line of a streamed answer, may take.
    """
    client = ollama.Client(host=base_url(address, port))
    # The client makes its httpx.Client itself and takes no ready one.
    client._client = httpx.Client(
        base_url=base_url(address, port),
        transport=_Transport(remote),
        timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
        # Ollama answers 403 to a Host that is neither an address of its own nor a local name.
        headers={"Host": f"localhost:{port}"},
    )
    return client


def base_url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def http(client: ollama.Client) -> httpx.Client:
    """The client's httpx.Client, for what the official one has no method for."""
    inner: httpx.Client = client._client
    return inner


@contextmanager
def said(doing: str) -> Iterator[None]:
    """Turn the API's and the connection's errors into a CorralError that says what was being done."""
    try:
        yield
    except LinkBroken as error:
        raise LinkBroken(f"while {doing}") from error
    except ollama.ResponseError as error:
        raise CorralError(f"{doing}: Ollama answers {error.error!r}", _remedy(error.error)) from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise CorralError(f"{doing}: no answer in time", "The server's log on the host says more") from error
    except (httpx.HTTPError, ConnectionError, OSError) as error:
        raise CorralError(
            f"{doing}: the connection to Ollama failed ({error})", "The server's log on the host says more"
        ) from error


def _remedy(error: str) -> str:
    if "file does not exist" in error or "not found" in error:
        return "Check the model's name and tag"
    if "template error" in error:
        return "Correct the model's template: it is none in Go's template language"
    if "no space left" in error:
        return "Free some space on the disk of models_dir"
    if "x509" in error or "certificate" in error:
        return "The host does not trust the registry's certificate: check its clock and its CA store"
    return ""


@dataclass(frozen=True)
class Running:
    """A model in a server's memory, as /api/ps has it. context in tokens, size and on_gpu in bytes."""

    context: int
    size: int
    on_gpu: int


def show(client: ollama.Client, name: str) -> dict[str, Any]:
    """What the server says of a model. Raises ollama.ResponseError, for one that it does not have as well."""
    answer = http(client).post("/api/show", json={"model": name})
    if answer.status_code != 200:
        raise ollama.ResponseError(answer.text, answer.status_code)
    shown: dict[str, Any] = answer.json()
    return shown


def running(client: ollama.Client, name: str) -> Running | None:
    """How the server runs a model; None where it is not loaded.

    A process is one per file of weights, and listed under the model that it was started for (sched.go): models that
    differ in nothing that a process is started with share it.
    """
    wanted, listed = ModelName.parse(name), client.ps().models
    found = next((each for each in listed if ModelName.parse(each.model or "") == wanted), None)
    if found is None and listed:
        weights = Meaning.of_show(show(client, name)).weights
        found = next((each for each in listed if weights and _weights(client, each.model or "") == weights), None)
    if found is None:
        return None
    return Running(int(found.context_length or 0), int(found.size or 0), int(found.size_vram or 0))


def _weights(client: ollama.Client, name: str) -> str:
    """What a model's weights are known by; "" for one that was removed while it is loaded."""
    try:
        return Meaning.of_show(show(client, name)).weights
    except ollama.ResponseError as error:
        if error.status_code != 404:
            raise
        return ""


def unload(client: ollama.Client, name: str) -> None:
    """Have a model's memory given back; returns when it is, or after ten seconds."""
    client.generate(model=name, keep_alive=0)
    for _ in range(50):
        if running(client, name) is None:
            return
        time.sleep(0.2)


def follow(stream: Iterable[Any], show: Callable[[str], None], interval_s: float = 5.0) -> None:
    """Consume a streamed pull or create; show each new status, and percentages now and then."""
    status, shown = "", 0.0
    for step in stream:
        text = getattr(step, "status", "") or ""
        total, completed = getattr(step, "total", None), getattr(step, "completed", None)
        if text != status:
            status, shown = text, time.monotonic() if total else 0.0
            if text and not total:
                show(text)
        elif total and completed and time.monotonic() - shown >= interval_s:
            shown = time.monotonic()
            show(f"{text}: {decimal(completed)} of {decimal(total)} ({completed * 100 // total} %)")


def create(client: ollama.Client, request: Mapping[str, object]) -> Iterator[ollama.ProgressResponse]:
    """POST /api/create, streamed; an error that arrives inside the stream is raised like any other."""
    with http(client).stream("POST", "/api/create", json={**request, "stream": True}) as answer:
        if answer.status_code >= 400:
            answer.read()
            raise ollama.ResponseError(answer.text, answer.status_code)
        for line in answer.iter_lines():
            step = json.loads(line)
            if "error" in step:
                raise ollama.ResponseError(step["error"])
            yield ollama.ProgressResponse(**step)


def chunks(path: Path, show: Callable[[str], None], interval_s: float = 5.0) -> Iterator[bytes]:
    """A file's content for an upload, telling how far it is."""
    total, sent, shown = path.stat().st_size, 0, time.monotonic()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block
            sent += len(block)
            if time.monotonic() - shown >= interval_s:
                shown = time.monotonic()
                show(f"uploading {path.name}: {decimal(sent)} of {decimal(total)} ({sent * 100 // total} %)")
