"""The mirror, spoken to over HTTPS as hosts do, and what can be made to go wrong there."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import mirror
from lab.certificates import ensure_authority
from lab.mirror import Control, Cut, MirrorServer, Request, Site

ARCHIVE = "/releases/v1.2.3/ollama-linux-amd64.tar.zst"
CONTENT = bytes(range(256)) * 1000
BLOB = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    content: bytes


@dataclass
class Client:
    """Asks a running mirror, as the host of some name."""

    port: int
    trust: ssl.SSLContext
    control: Path

    def ask(self, path: str, host: str = "mirror.lab", method: str = "GET", span: str = "") -> Answer:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=10)
        connection.request(method, path, headers={"Host": host} | ({"Range": span} if span else {}))
        response = connection.getresponse()
        try:
            content = response.read()
        except http.client.IncompleteRead as error:
            content = error.partial
        connection.close()
        return Answer(response.status, response.headers, content)

    def order(self, control: Control) -> None:
        mirror.write_control(self.control, control)

    def log(self, count: int) -> list[Request]:
        """The log, once it has so many lines: a line is written after the answer."""
        deadline = time.monotonic() + 5
        while len(requests := mirror.read_log(self.control)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return requests


@pytest.fixture(scope="session")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's side of TLS, and a client's that trusts the lab's authority and asks for mirror.lab."""
    authority = ensure_authority(tmp_path_factory.mktemp("cache"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.mirror_certificate, authority.mirror_key)
    client = ssl.create_default_context(cafile=str(authority.certificate))
    client.check_hostname = False  # it is reached by its address here
    return server, client


@pytest.fixture
def client(tmp_path: Path, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Client]:
    releases, models, control = (tmp_path / name for name in ("releases", "models", "control"))
    (releases / "v1.2.3").mkdir(parents=True)
    (tmp_path / ARCHIVE.lstrip("/")).write_bytes(CONTENT)
    (models / "blobs").mkdir(parents=True)
    (models / "blobs" / f"sha256-{BLOB}").write_bytes(CONTENT)
    for name in ("registry.ollama.ai/library/deepseek-r1/14b", "hf.co/someone/model-GGUF/Q4_K_M"):
        manifest = models / "manifests" / name
        manifest.parent.mkdir(parents=True)
        manifest.write_text(name)
    control.mkdir()
    server = MirrorServer(("127.0.0.1", 0), Site(releases, models, control), contexts[0])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Client(server.server_address[1], contexts[1], control)
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_archive_comes_whole(client: Client) -> None:
    answer = client.ask(ARCHIVE)
    assert (answer.status, answer.content) == (200, CONTENT)
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_a_download_goes_on_where_it_ended(client: Client) -> None:
    answer = client.ask(ARCHIVE, span="bytes=1000-")
    assert (answer.status, answer.content) == (206, CONTENT[1000:])
    assert answer.headers["Content-Range"] == f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("", (0, 100)),
        ("bytes=0-9", (0, 10)),
        ("bytes=90-200", (90, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=100-", None),
        ("bytes=9-3", None),
        ("bytes=-5", None),
        ("lines=1-2", None),
    ],
)
def test_a_range_is_read_as_first_and_last_byte(header: str, span: tuple[int, int] | None) -> None:
    assert mirror._parse_range(header, 100) == span


def test_ollama_com_has_the_newest_release_and_older_ones_by_their_version(client: Client) -> None:
    path = ARCHIVE.rpartition("/")[2]
    assert client.ask(f"/download/{path}", "ollama.com").content == CONTENT
    assert client.ask(f"/download/{path}?version=1.2.3", "ollama.com").content == CONTENT
    assert client.ask(f"/download/{path}?version=0.0.1", "ollama.com").status == 404
    assert client.ask(f"/download/{path}", "hf.co").status == 404


def test_what_servers_ask_of_ollama_com_by_themselves_is_not_logged(client: Client) -> None:
    assert client.ask("/api/experimental/model-recommendations", "ollama.com").status == 404
    assert client.ask("/download/none", "ollama.com").status == 404
    assert [request.path for request in client.log(1)] == ["/download/none"]


def test_a_manifest_depends_on_the_registry_that_is_asked(client: Client) -> None:
    manifest = "/v2/library/deepseek-r1/manifests/14b"
    answer = client.ask(manifest, "registry.ollama.ai")
    assert answer.content == b"registry.ollama.ai/library/deepseek-r1/14b"
    assert answer.headers["Content-Type"] == mirror.MANIFEST_TYPE
    assert client.ask(manifest, "hf.co").status == 404
    assert client.ask("/v2/someone/model-GGUF/manifests/Q4_K_M", "hf.co").status == 200


def test_a_blob_says_where_to_download_it(client: Client) -> None:
    path = f"/v2/library/deepseek-r1/blobs/sha256:{BLOB}"
    head = client.ask(path, "registry.ollama.ai", "HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(CONTENT)))
    assert head.headers["Location"] == f"https://registry.ollama.ai{path}"
    assert client.ask(path, "registry.ollama.ai", span="bytes=0-9").content == CONTENT[:10]


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/releases/../control/requests.jsonl", "mirror.lab"),
        ("/releases/%2e%2e/models/blobs/x", "mirror.lab"),
        ("/v2/../../../manifests/x", "registry.ollama.ai"),
        ("/etc/passwd", "mirror.lab"),
        ("/releases/", "mirror.lab"),
    ],
)
def test_nothing_but_releases_and_models_is_given_out(client: Client, path: str, host: str) -> None:
    assert client.ask(path, host).status == 404


def test_a_connection_is_cut_once_and_the_rest_can_be_fetched(client: Client) -> None:
    client.order(Control(cuts=(Cut("*.tar.zst", after_bytes=5000),)))
    assert client.ask(ARCHIVE).content == CONTENT[:5000]
    assert client.ask(ARCHIVE, span="bytes=5000-").content == CONTENT[5000:]
    assert [(request.sent, request.cut) for request in client.log(2)] == [
        (5000, True),
        (len(CONTENT) - 5000, False),
    ]


def test_nobody_gets_beyond_a_cut_that_is_made_always(client: Client) -> None:
    client.order(Control(cuts=(Cut("*", after_bytes=5000, times=None),)))
    assert client.ask(ARCHIVE).content == CONTENT[:5000]
    assert client.ask(ARCHIVE, span="bytes=5000-").content == b""
    assert client.ask(ARCHIVE, span="bytes=0-99").content == CONTENT[:100]


def test_a_mirror_that_has_gone_answers_nobody_until_it_is_told_to(client: Client) -> None:
    client.order(Control(cuts=(Cut("*", after_bytes=5000, gone=True),)))
    client.ask(ARCHIVE)
    with pytest.raises(http.client.RemoteDisconnected):
        client.ask(ARCHIVE)
    client.order(Control())
    assert client.ask(ARCHIVE).content == CONTENT


def test_a_corrupt_file_has_its_length_and_another_last_byte(client: Client) -> None:
    client.order(Control(corrupt=(ARCHIVE,)))
    answer = client.ask(ARCHIVE)
    assert answer.content[:-1] == CONTENT[:-1]
    assert answer.content[-1] != CONTENT[-1]
    assert client.ask(ARCHIVE, span="bytes=0-9").content == CONTENT[:10]


def test_a_missing_file_is_not_found(client: Client) -> None:
    client.order(Control(missing=("*/v1.2.3/*",)))
    assert client.ask(ARCHIVE).status == 404


def test_a_slow_mirror_takes_its_time(client: Client) -> None:
    client.order(Control(bytes_per_second=len(CONTENT) * 2))
    started = time.monotonic()
    assert client.ask(ARCHIVE).content == CONTENT
    assert time.monotonic() - started > 0.4


def test_the_log_says_who_asked_for_what(client: Client) -> None:
    before = time.time()
    client.ask(ARCHIVE, span="bytes=0-9")
    [request] = client.log(1)
    assert before <= request.time <= time.time()
    assert (request.client, request.host, request.method) == ("127.0.0.1", "mirror.lab", "GET")
    assert (request.path, request.range, request.status, request.sent) == (ARCHIVE, "bytes=0-9", 206, 10)
    assert mirror.read_log(client.control, since=time.time()) == []


def test_an_order_survives_the_way_to_the_mirror() -> None:
    control = Control(1000, (Cut("*", 1), Cut("a b", 2, None, True)), ("x",), ("y", "z"))
    assert Control.from_json(control.to_json()) == control
