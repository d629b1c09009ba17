"""The lab's mirror: release archives and a model registry over HTTPS, and what tests make go wrong there.

mirror.py CERTIFICATES RELEASES MODELS CONTROL runs the server, on the mirror host, with nothing but Python's
standard library. The rest of the lab imports the same file for the other end: `Control` is what the server
is told and `Request` is what it tells, both through files in the CONTROL directory.

By the name that a client asks for, the server is
- mirror.lab: /releases/v<version>/<asset>, files under RELEASES, with Range; /debian, files under PACKAGES, as apt
  wants them, which comes without TLS, to port 80;
- ollama.com: /download/<asset>, those files as Ollama's install.sh asks for them: the newest, or ?version=<version>;
- any other name: that registry (registry.ollama.ai, hf.co, ...), as far as `ollama pull` uses one. MODELS is
  a models directory as Ollama keeps it, manifests/<registry>/... and blobs/sha256-....
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

RELEASES_NAME = "mirror.lab"
DOWNLOAD_NAME, DOWNLOAD = "ollama.com", "/download/"
PACKAGES = Path("/srv/packages")
CONTROL_FILE = "control.json"
LOG_FILE = "requests.jsonl"
CHUNK_BYTES = 1 << 16
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
BLOB = re.compile(r"/v2/.+/blobs/(sha256):([0-9a-f]{64})")
MANIFEST = re.compile(r"/v2/((?:[\w.-]+/)+)manifests/([\w.-]+)")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Cut:
    """Ends the connection once this many bytes of a file have been sent, counted from the file's start.

    path:  the request's path, as a shell pattern ("*/ollama-linux-amd64.tar.zst").
    times: how often; None: always, so that nobody ever gets beyond that byte.
    gone:  from the first time on the mirror answers nobody, until it is told something else.
    """

    path: str
    after_bytes: int
    times: int | None = 1
    gone: bool = False


@dataclass(frozen=True)
class Control:
    """How the mirror is to behave.

    bytes_per_second: each connection's share; None: as fast as it goes.
    corrupt: patterns of paths whose content is sent with its last byte changed.
    missing: patterns of paths that are answered with 404.
    """

    bytes_per_second: int | None = None
    cuts: tuple[Cut, ...] = ()
    corrupt: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Control:
        fields = json.loads(text)
        fields["cuts"] = tuple(Cut(**cut) for cut in fields["cuts"])
        fields["corrupt"] = tuple(fields["corrupt"])
        fields["missing"] = tuple(fields["missing"])
        return Control(**fields)


@dataclass(frozen=True)
class Request:
    """One request that the mirror has answered.

    time:  seconds since 1970, at its start.
    host:  the name that was asked for; range: the Range header or "".
    sent:  bytes of content that went out; cut: whether a Cut ended it.
    """

    time: float
    client: str
    host: str
    method: str
    path: str
    range: str
    status: int
    sent: int
    cut: bool


@dataclass
class Site:
    """What the server serves, and what it has been told about it."""

    releases: Path
    models: Path
    directory: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _control: Control = field(default_factory=Control)
    _seen: tuple[int, int] = (0, 0)
    _made: dict[Cut, int] = field(default_factory=dict)
    _gone: bool = False

    def control(self) -> Control:
        """The latest order; read again only when the file has changed."""
        with self._lock, contextlib.suppress(FileNotFoundError):
            file = self.directory / CONTROL_FILE
            status = file.stat()
            if (status.st_ino, status.st_mtime_ns) != self._seen:
                self._control = Control.from_json(file.read_text())
                self._seen, self._made, self._gone = (status.st_ino, status.st_mtime_ns), {}, False
        return self._control

    def is_gone(self) -> bool:
        self.control()
        return self._gone

    def cut_for(self, path: str, start: int, end: int) -> Cut | None:
        """The cut that this answer, the file's bytes from start to end, will run into."""
        for cut in self.control().cuts:
            due = cut.times is None or self._made.get(cut, 0) < cut.times
            # An answer that begins beyond the cut has nothing to do with it, unless nobody gets beyond it.
            reached = end > cut.after_bytes and (start <= cut.after_bytes or cut.times is None)
            if due and reached and fnmatchcase(path, cut.path):
                return cut
        return None

    def made(self, cut: Cut) -> None:
        with self._lock:
            self._made[cut] = self._made.get(cut, 0) + 1
            self._gone = self._gone or cut.gone

    @property
    def newest(self) -> str:
        """The newest version among the releases; "" for none."""
        versions = [path.name.removeprefix("v") for path in self.releases.glob("v*")]
        return max(versions, key=lambda version: [int(part) for part in re.findall(r"\d+", version)], default="")

    def log(self, request: Request) -> None:
        """What Ollama's servers ask of ollama.com by themselves (models to recommend, since 0.34) is left out."""
        if request.host == DOWNLOAD_NAME and not request.path.startswith(DOWNLOAD):
            return
        with self._lock, (self.directory / LOG_FILE).open("a") as log:
            log.write(json.dumps(asdict(request)) + "\n")

    def file_for(self, host: str, path: str, version: str = "") -> tuple[Path, str] | None:
        """The file that answers for a path, and its type; None for none. version: of what ollama.com serves."""
        if host == DOWNLOAD_NAME and path.startswith(DOWNLOAD):
            path = f"/releases/v{version or self.newest}/{path.removeprefix(DOWNLOAD)}"
        if host == RELEASES_NAME and path.startswith("/debian/"):
            found = PACKAGES / path.removeprefix("/debian/")
            inside = found.resolve().is_relative_to(PACKAGES)
            content_type = "application/octet-stream"
        elif host in (RELEASES_NAME, DOWNLOAD_NAME):
            found = self.releases / path.removeprefix("/releases/")
            inside = path.startswith("/releases/") and found.resolve().is_relative_to(self.releases.resolve())
            content_type = "application/octet-stream"
        elif blob := BLOB.fullmatch(path):
            found, inside = self.models / "blobs" / "-".join(blob.groups()), True
            content_type = "application/octet-stream"
        elif manifest := MANIFEST.fullmatch(path):
            found, inside = self.models / "manifests" / host / manifest[1] / manifest[2], ".." not in path
            content_type = MANIFEST_TYPE
        else:
            return None
        return (found, content_type) if inside and found.is_file() else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MirrorServer

    def setup(self) -> None:
        """The handshake happens here, in the connection's own thread."""
        self.request.settimeout(60)
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        site, started = self.server.site, time.time()
        host = self.headers.get("Host", "").partition(":")[0]
        path = unquote(urlsplit(self.path).path)
        version = parse_qs(urlsplit(self.path).query).get("version", [""])[0]
        asked_range = self.headers.get("Range", "")
        status, sent, cut = 404, 0, None
        if site.is_gone():
            self.close_connection = True
            return
        try:
            found = site.file_for(host, path, version)
            if found is None or _matches(site.control().missing, path):
                self._not_found()
                return
            file, content_type = found
            size = file.stat().st_size
            part = _parse_range(asked_range, size)
            if part is None:
                status = 416
                self._head(status, 0, {"Content-Range": f"bytes */{size}"})
                return
            start, end = part
            status = 206 if asked_range else 200
            headers = {"Content-Type": content_type, "Accept-Ranges": "bytes"}
            if asked_range:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            if BLOB.fullmatch(path):
                # Ollama takes the address to download from out of this, and then asks there with Range.
                headers["Location"] = f"https://{host}{self.path}"
            self._head(status, end - start, headers)
            if with_content:
                cut = site.cut_for(path, start, end)
                last = min(end, cut.after_bytes) if cut else end
                for chunk in self._content(file, size, start, max(last, start), path):
                    self.wfile.write(chunk)
                    sent += len(chunk)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            self.close_connection = True  # the client has gone
        finally:
            if cut:
                site.made(cut)
            site.log(
                Request(
                    started, self.client_address[0], host, self.command, path, asked_range, status, sent,
                    cut is not None,
                )
            )  # fmt: skip
            if cut:
                self._cut_connection()

    def _content(self, file: Path, size: int, start: int, end: int, path: str) -> Iterator[bytes]:
        rate = self.server.site.control().bytes_per_second
        chunk_bytes = min(CHUNK_BYTES, max(1, rate // 20)) if rate else CHUNK_BYTES
        corrupt = _matches(self.server.site.control().corrupt, path)
        with file.open("rb") as content:
            content.seek(start)
            while start < end:
                chunk = content.read(min(chunk_bytes, end - start))
                start += len(chunk)
                if corrupt and start == size:
                    chunk = chunk[:-1] + bytes([chunk[-1] ^ 0xFF])
                yield chunk
                if rate:
                    time.sleep(len(chunk) / rate)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _not_found(self) -> None:
        body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not found"}]}'
        self._head(404, len(body), {"Content-Type": "application/json"})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _cut_connection(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are logged as JSON, by `Site.log`."""


class MirrorServer(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], site: Site, tls: ssl.SSLContext | None) -> None:
        super().__init__(address, Handler)
        self.site = site
        self.tls = tls

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up, or don't trust the certificate, are no news; anything else is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _matches(patterns: tuple[str, ...], path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _parse_range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; the whole file without a header; None: not within the file."""
    if not header:
        return 0, size
    match = RANGE.fullmatch(header)
    if not match or int(match[1]) >= size:
        return None
    end = min(int(match[2]) + 1, size) if match[2] else size
    return (int(match[1]), end) if end > int(match[1]) else None


def read_log(directory: Path, since: float = 0.0) -> list[Request]:
    """The requests that the mirror has answered since a time (seconds since 1970), oldest first."""
    log = directory / LOG_FILE
    lines = log.read_text().splitlines() if log.exists() else []
    requests = [Request(**json.loads(line)) for line in lines]
    return [request for request in requests if request.time >= since]


def write_control(directory: Path, control: Control) -> None:
    """Takes effect with the next request."""
    new = directory / f".{CONTROL_FILE}"
    new.write_text(control.to_json())
    new.rename(directory / CONTROL_FILE)


def serve(certificates: Path, site: Site) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "certificate.pem", certificates / "key.pem")
    server = MirrorServer(("", 443), site, tls)
    plain = MirrorServer(("", 80), site, None)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Site(Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])))
