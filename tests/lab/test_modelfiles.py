"""Modelfiles, read and made as Ollama itself does: its command line and its server say what each one means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.errors import CorralError
from corral.meaning import Meaning, effective
from corral.modelfile import Modelfile, parse, render, to_create_request
from tests.generated import engines, licences, messages, settings_of_any_kind, texts, versions, written
from tests.lab.conftest import ROOT, Inventory
from tests.lab.observation import get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.hosts import Lab
    from tests.lab.conftest import Deploy

HOST, BASE, SCRATCH = "rtx2070", "deepseek-r1:1.5b", "scratch"
TEMPLATES = jinja2.FileSystemLoader(ROOT / "templates/modelfiles")


class Server:
    """The Ollama of a host, which has the base, and its own command line there."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        lab.check(HOST, f"ollama pull {BASE}")
        self.base = self.meaning(BASE)

    def meaning(self, name: str) -> Meaning:
        return Meaning.of_show(get(self._lab, HOST, "/api/show", {"model": name}))

    def create(self, text: str) -> Meaning | str:
        """What `ollama create` makes of a Modelfile, or why it does not."""
        done = self._lab.exec(HOST, f"cat >/tmp/Modelfile && ollama create {SCRATCH} -f /tmp/Modelfile", text.encode())
        return self.meaning(SCRATCH) if done.rc == 0 else done.out

    def create_as_corral(self, modelfile: Modelfile) -> Meaning:
        get(self._lab, HOST, "/api/create", {**to_create_request(modelfile, SCRATCH), "stream": False})
        return self.meaning(SCRATCH)


@pytest.fixture(scope="module")
def server(lab: Lab, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    inventory = Inventory(tmp_path_factory.mktemp("inventory")).only(HOST)
    run = deploy(inventory)
    assert run.rc == 0, run.out
    yield Server(lab)
    lab.check(HOST, f"ollama rm {SCRATCH} {BASE} && rm /tmp/Modelfile")


@settings(max_examples=300)
@given(written(BASE))
def test_a_modelfile_is_read_as_ollama_reads_it_or_refused_as_it_refuses_it(server: Server, text: str) -> None:
    made = server.create(text)
    if isinstance(made, Meaning):
        assert effective(server.base, parse(text)) == made
    else:
        with pytest.raises(CorralError):
            parse(text)


declared = st.builds(
    Modelfile,
    from_=st.just(BASE),
    parameters=settings_of_any_kind,
    template=texts.filter(lambda text: "{{" not in text) | st.just("{{ .System }} {{- .Prompt }}\n"),
    system=texts,
    licenses=licences,
    messages=messages,
    renderer=engines,
    parser=engines,
    requires=versions,
)


@settings(max_examples=100)
@given(declared)
def test_a_declared_model_is_made_as_it_reads_by_corral_and_by_its_modelfile_alike(
    server: Server, modelfile: Modelfile
) -> None:
    text = render(modelfile, name="r1", host=HOST, loader=TEMPLATES).text
    assert parse(text) == modelfile
    wanted = effective(server.base, modelfile)
    assert server.create_as_corral(modelfile) == wanted
    assert server.create(text) == wanted
