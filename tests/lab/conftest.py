"""Whole deploys against the lab: what a user types, on hosts that are real but for their GPUs.

Each test says in which state it wants a host and brings it there itself; hosts are reset in under a second.

    lab/run pytest tests/lab           in the lab that `make lab` brings up
    pytest tests/lab --labs one,two    in labs side by side, file by file; CORRAL_LAB=one python -m lab up ... makes one
"""

from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import tests.repeatable  # noqa: E402, F401
from lab.config import CHOSEN_LAB, Layout  # noqa: E402
from lab.hosts import Lab, State  # noqa: E402
from tests.lab.power import survived  # noqa: E402

SERVERS = ("rtx4090", "rtx3080", "rtx2070")
#: The files whose tests take longest, in this order. Begun first, they don't keep one lab at work when all others are
#: done.
LONGEST = (
    "move",
    "windows",
    "upgrade",
    "adopt",
    "rebuild",
    "backup",
    "plan",
    "own_models",
    "state_suite",
    "cut_off",
    "windows_connector",
    "closed_loop",
    "models",
)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("corral")
    group.addoption("--labs", metavar="NAMES", help="run the files of tests in these labs, side by side")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Has pytest-xdist start one worker in each lab."""
    names = config.getoption("labs")
    if names and not hasattr(config, "workerinput"):
        enter = shlex.join([str(ROOT / "lab/run"), sys.executable])
        config.option.tx = [f"popen//python=env {CHOSEN_LAB}={name} {enter}" for name in names.split(",")]
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("labs"):
        order = {f"test_{name}": number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts the power cuts that hosts were put through."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    counts = survived(reports)
    if counts:
        terminalreporter.section("power cuts")
    for what, (tried, well) in counts.items():
        terminalreporter.line(f"{what}: {tried} tried, {well} survived")


@dataclass(frozen=True)
class Run:
    """A command that has ended: its exit code, everything that it printed without colours, its seconds."""

    rc: int
    out: str
    seconds: float

    def about(self, host: str) -> str:
        """The lines that bear a host's name."""
        return "\n".join(line for line in self.out.splitlines() if f"[{host}]" in line)


@pytest.fixture(scope="session")
def lab() -> Lab:
    lab = Lab()
    assert lab.sandbox.is_up, "the lab is not up: make lab"
    return lab


@pytest.fixture(autouse=True)
def _well(lab: Lab) -> Iterator[None]:
    """The mirror is whole, the network fast and every host up, before and after each test."""
    _mend(lab)
    yield
    _mend(lab)


def _mend(lab: Lab) -> None:
    lab.mirror.reset()
    for host in {one.name for one in lab.hosts()} & {*SERVERS, "bare"}:
        if lab.state(host) is State.OFF:
            lab.boot(host)


@pytest.fixture(scope="module")
def bare_afterwards(lab: Lab, request: pytest.FixtureRequest) -> Iterator[None]:
    """The HOST of a file whose tests leave things on it that other files' tests do not expect."""
    yield
    lab.reset(request.module.HOST)


#: What tests that are not about planning have instead of a plan: models, contexts and variables of their own.
CERTAIN_MODELS = {
    "rtx4090": ("deepseek-r1:32b-qwen-distill-q4_K_M", 16384),
    "rtx3080": ("deepseek-r1:14b", 4096),
    "rtx2070": ("deepseek-r1:7b", 8192),
}
CERTAIN_ENVIRONMENT = {"OLLAMA_FLASH_ATTENTION": True, "OLLAMA_KV_CACHE_TYPE": "q8_0", "OLLAMA_NUM_PARALLEL": 1}


class InventoryFile:
    """One of the repository's inventories of the lab, by its name, with changes, in a file of its own."""

    def __init__(self, directory: Path, source: str) -> None:
        self.path = directory / "lab.yml"
        self.document: dict[str, Any] = yaml.safe_load((ROOT / "inventory" / source).read_text())
        self.document["defaults"]["ollama_pins"] = str(Layout().pins)

    def host(self, name: str) -> dict[str, Any]:
        declared: dict[str, Any] = self.document["hosts"][name]
        return declared

    def only(self, *names: str) -> Self:
        """Leave out the other hosts."""
        self.document["hosts"] = {name: self.host(name) for name in names}
        return self

    def set(self, name: str, **settings: Any) -> Self:
        """Change settings of one host; None takes a key out."""
        for key, value in settings.items():
            if value is None:
                self.host(name).pop(key, None)
            else:
                self.host(name)[key] = copy.deepcopy(value)
        return self

    def write(self) -> Path:
        self.path.write_text(yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True))
        return self.path


class Inventory(InventoryFile):
    """inventory/lab.yml's Linux hosts; with models that are named unless `planned`.

    windows: what it declares for its Windows host, for tests that add it.
    """

    def __init__(self, directory: Path, planned: bool = False) -> None:
        super().__init__(directory, "lab.yml")
        self.windows: dict[str, Any] = self.document["hosts"].pop("win11")
        if not planned:
            self.document["defaults"]["environment"] |= CERTAIN_ENVIRONMENT
            for host, (source, context) in CERTAIN_MODELS.items():
                (model,) = self.host(host)["models"]
                del model["plan"]
                self.host(host)["models"] = [
                    {
                        "name": model.pop("name"),
                        "from": source,
                        **model,
                        "parameters": {"num_ctx": context, **model["parameters"]},
                    }
                ]


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    return Inventory(tmp_path)


@pytest.fixture
def planned(tmp_path: Path) -> Inventory:
    """inventory/lab.yml as it is: every host's model is planned."""
    return Inventory(tmp_path, planned=True)


def corral(inventory: InventoryFile, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of corral's to its end, with output and errors apart."""
    return subprocess.run(
        [ROOT / "lab/run", "corral", *arguments],
        cwd=ROOT,
        env={**os.environ, "CORRAL_INVENTORY": str(inventory.write())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def need_release(lab: Lab, version: str) -> None:
    """Fail where the lab was brought up without a version of Ollama; make test brings it up with both."""
    if version not in yaml.safe_load(lab.layout.pins.read_text()):
        pytest.fail(f"the lab's mirror has no {version}: make test brings it up with both")


Start = Callable[..., "subprocess.Popen[str]"]
Deploy = Callable[..., Run]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the directory that people work in: what they start, and what they put beside it."""
    directory = tmp_path / "project"
    for name in ("deploys", "group_data", "templates"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "inventory.py", directory)
    return directory


def _command(deploy: str, *arguments: str, dry: bool = False, project: Path = ROOT) -> list[str]:
    return [
        str(ROOT / "lab/run"),
        "env",
        f"--chdir={project}",
        "pyinfra",
        "--dry" if dry else "-y",
        *arguments,
        "inventory.py",
        f"deploys/{deploy}.py",
    ]


@pytest.fixture
def start() -> Iterator[Start]:
    """Launch a deploy; what is left of it is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def go(inventory: InventoryFile, deploy: str = "r1", *arguments: str) -> subprocess.Popen[str]:
        started.append(launch(inventory, deploy, *arguments))
        return started[-1]

    yield go
    for process in started:
        end(process)


def launch(inventory: InventoryFile, deploy: str = "r1", *arguments: str) -> subprocess.Popen[str]:
    """Start a deploy in the background, in a process group of its own."""
    return subprocess.Popen(
        _command(deploy, *arguments),
        cwd=ROOT,
        env={**os.environ, "CORRAL_INVENTORY": str(inventory.write())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    """Kill what is left of a deploy that was launched."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def deploy() -> Deploy:
    """Run a deploy to its end, from the repository's root or from another project."""

    def go(
        inventory: InventoryFile,
        deploy: str = "r1",
        *arguments: str,
        dry: bool = False,
        env: Mapping[str, str] | None = None,
        project: Path = ROOT,
    ) -> Run:
        begun = time.monotonic()
        done = subprocess.run(
            _command(deploy, *arguments, dry=dry, project=project),
            cwd=ROOT,
            env={**os.environ, "CORRAL_INVENTORY": str(inventory.write()), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        return Run(done.returncode, ANSI.sub("", done.stdout), time.monotonic() - begun)

    return go
