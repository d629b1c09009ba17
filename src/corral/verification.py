"""Is it true? Asked of the host, and of the running server through the firewall from the clients' side.

"Ollama is running" is also what a server says that has no GPU and no model, so every declared model is
loaded and used. One list of checks serves the deploys, `corral status` and tests/state.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import gevent
import httpx
import ollama

from corral import clients
from corral.checks import Check
from corral.clients import Vantage
from corral.errors import CorralError
from corral.gpus.judgement import usable, wants_integrated
from corral.ollama import api
from corral.ollama.models import wanted_models
from corral.run import HostRun
from corral.settings import ModelSpec

PROMPT = "Say in one word that you are ready."
TOKENS = 16
#: An answer of one token takes no time that could be measured: so often another one is asked for.
MOST_ANSWERS = 3
REFUSAL_WAIT_S = 3.0
GREETING = "Ollama is running"


@dataclass(frozen=True)
class Loaded:
    """A model as it ran during verification. size and on_gpu in bytes, as /api/ps says."""

    name: str
    context: int
    size: int
    on_gpu: int
    tokens_per_s: float

    @classmethod
    def of(cls, name: str, running: api.Running, tokens_per_s: float) -> Loaded:
        return cls(name, running.context, running.size, running.on_gpu, tokens_per_s)

    @property
    def where(self) -> str:
        """As `ollama ps` words it."""
        if self.size and self.on_gpu >= self.size:
            return "100% GPU"
        share = round(100 * self.on_gpu / self.size) if self.size else 0
        return f"{100 - share}%/{share}% CPU/GPU" if share else "100% CPU"

    @property
    def sentence(self) -> str:
        """The model, where and how it ran, for people."""
        return f"{self.name} runs {self.where} with a context of {self.context} at {self.tokens_per_s:.1f} tokens/s"


@dataclass
class Verdict:
    """What verification found on one host."""

    checks: list[Check] = field(default_factory=list)
    loaded: list[Loaded] = field(default_factory=list)
    version: str = ""
    reached_from: tuple[str, ...] = ()
    refused_to: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def failures(self) -> list[Check]:
        return [check for check in self.checks if not check.ok]

    @property
    def sentence(self) -> str:
        """What was found on a host on which everything is as it should be."""
        parts = [f"Ollama {self.version}, as seen from {' and '.join(self.reached_from)}"]
        parts += [loaded.sentence for loaded in self.loaded]
        parts += [f"refused to {name}" for name in self.refused_to]
        return "; ".join(parts)


def verify(run: HostRun) -> Verdict:
    """Check one host. What is wrong with it is in the verdict; CorralError is raised only for what keeps
    verification itself from working (a client that is off)."""
    verdict = Verdict()
    verdict.checks += run.platform.check_service(run)
    verdict.checks += check_gpus(run)
    verdict.checks += check_firewall(run)
    if run.loopback:
        _use(run, Vantage(f"{run.name} itself", run.remote), run.environment.own_address, verdict)
        verdict.reached_from = ("the host itself",)
        return verdict
    reached, refused = vantages(run)
    verdict.reached_from = tuple(vantage.name for vantage in reached)
    verdict.refused_to = tuple(vantage.name for vantage in refused)
    refusals = [gevent.spawn(check_refused, run, vantage) for vantage in refused]
    _use(run, reached[0], run.address, verdict)
    verdict.checks += [check_greeting(run, vantage) for vantage in reached[1:]]
    verdict.checks += [greenlet.get() for greenlet in refusals]
    return verdict


def vantages(run: HostRun) -> tuple[list[Vantage], list[Vantage]]:
    """The machines that must reach the host, at least one, and those that must not. Raises CorralError."""
    declared = run.inventory.clients
    seen = [
        Vantage(
            name,
            clients.connect(str(run.inventory.path), {n: c.connection() for n, c in declared.items()}, name),
            client.expect == "refused",
        )
        for name, client in declared.items()
    ]
    reached = [vantage for vantage in seen if not vantage.refused]
    return reached or [clients.this_machine()], [vantage for vantage in seen if vantage.refused]


def check_gpus(run: HostRun) -> list[Check]:
    """Every GPU that is declared is there: NVIDIA's by name, of others only the maker shows."""
    found = run.state.gpus
    if not run.settings.gpus:
        return []
    lost = Counter(run.settings.gpus) - Counter(gpu.name for gpu in found.devices)
    if "AMD" in found.vendors:
        lost = Counter({name: count for name, count in lost.items() if not re.search("AMD|Radeon", name)})
    seen = ", ".join(gpu.name for gpu in found.devices) or found.error or "none"
    return [
        Check(
            "gpus",
            not lost,
            f"the GPUs found are {seen}" + (f"; missing: {', '.join(lost.elements())}." if lost else "."),
            "See to the card and its driver, or correct gpus in the inventory.",
        )
    ]


def check_firewall(run: HostRun) -> list[Check]:
    """The port is open to the declared addresses and to no others, in force and after a reboot."""
    port, kind = run.port, run.platform.firewall_name(run.state)
    if run.opened_scope is None or kind == "none":
        return []
    closed = run.platform.firewall_missing(run)
    wide = run.platform.firewall_wider(run)
    return [
        Check(
            "firewall",
            not closed,
            closed[0] if closed else f"{kind} lets {run.scope} reach port {port}.",
            "Run deploys/r1.py.",
        ),
        Check(
            "firewall scope",
            not wide,
            " ".join(wide) if wide else f"{kind} lets nobody else reach port {port}.",
            "Remove that rule, or widen allow_from.",
        ),
    ]


def check_greeting(run: HostRun, vantage: Vantage) -> Check:
    """GET / from a machine that must reach the host."""
    client = api.connect(vantage.remote, run.address, run.port, run.settings.verify_timeout_s)
    return _greeting(run, vantage, client)


def _greeting(run: HostRun, vantage: Vantage, client: ollama.Client) -> Check:
    where = api.base_url(run.address, run.port)
    try:
        timeout = httpx.Timeout(run.settings.verify_timeout_s, connect=api.CONNECT_TIMEOUT_S)
        answer = api.http(client).get("/", timeout=timeout)
    except (httpx.HTTPError, OSError) as error:
        return Check(
            "reachable",
            False,
            f"{where} can't be reached from {vantage.name} ({error}).",
            f"Is {vantage.name} among allow_from ({run.scope})? Is another firewall between them?",
        )
    found = answer.text.strip()
    return Check(
        "reachable",
        answer.status_code == 200 and found == GREETING,
        f'{where} says "{found[:80]}" to {vantage.name}.',
        "Another program answers on that port.",
    )


def check_refused(run: HostRun, vantage: Vantage) -> Check:
    """A machine that must not reach the host's port does not."""
    try:
        vantage.remote.dial(run.address, run.port, REFUSAL_WAIT_S).close()
    except OSError:
        return Check("refused", True, f"{vantage.name} is refused, as declared.")
    return Check(
        "refused",
        False,
        f"{vantage.name} reaches port {run.port}, which it must not.",
        "Look for a rule that is wider than allow_from, or correct expect under clients.",
    )


def _use(run: HostRun, vantage: Vantage, address: str, verdict: Verdict) -> None:
    """From one machine: the greeting, the version, and every declared model loaded and used."""
    client = api.connect(vantage.remote, address, run.port, run.settings.load_timeout_s)
    greeting = _greeting(run, vantage, client)
    verdict.checks.append(greeting)
    if not greeting.ok:
        return
    verdict.version = str(api.http(client).get("/api/version").json().get("version", ""))
    verdict.checks.append(
        Check(
            "version",
            verdict.version == run.settings.ollama_version,
            f"it is Ollama {verdict.version}"
            + ("." if verdict.version == run.settings.ollama_version else f", not {run.settings.ollama_version}."),
            "Run deploys/r1.py.",
        )
    )
    wanted_models(run)  # a Modelfile that can't be rendered is an error of its own
    for spec in run.models:
        verdict.checks += _check_model(run, client, spec, verdict)
    if run.settings.resident == "all" and len(run.models) > 1:
        verdict.checks.append(_check_resident(run, client))


def _check_resident(run: HostRun, client: ollama.Client) -> Check:
    """All models have been used, one after the other: none has been unloaded for another."""
    with api.said("looking at the loaded models"):
        gone = [spec.name for spec in run.models if api.running(client, spec.name) is None]
    return Check(
        "resident",
        not gone,
        f"{', '.join(spec.name for spec in run.models)} are in memory at once."
        if not gone
        else f"{' and '.join(gone)} had to go from memory for another of the declared models.",
        "Ask for less context, or set resident: one. A short OLLAMA_KEEP_ALIVE unloads models too.",
    )


def _check_model(run: HostRun, client: ollama.Client, spec: ModelSpec, verdict: Verdict) -> Iterator[Check]:
    try:
        with api.said(f"using {spec.name}"):
            loaded, answered = use(client, spec)
            if loaded and needs_gpu(run) and loaded.on_gpu < loaded.size and not in_part(run, spec):
                # It may have been loaded while something else held the card's memory: once more, afresh.
                api.unload(client, spec.name)
                loaded, answered = use(client, spec)
    except CorralError as error:
        yield Check("model", False, f"{error.problem}.", error.remedy or "Run deploys/models.py.")
        return
    yield Check("model", answered > 0, f"{spec.name} answers ({answered} tokens).", f"See {run.platform.log}.")
    if loaded is None:
        yield Check("loaded", False, f"{spec.name} is not in /api/ps after it answered.", "Is OLLAMA_KEEP_ALIVE 0?")
        return
    verdict.loaded.append(loaded)
    context = spec.parameters.get("num_ctx")
    if context is not None:
        yield Check(
            "context",
            loaded.context == context,
            f"{spec.name} has a context of {loaded.context} tokens"
            + ("." if loaded.context == context else f", not the declared {context}."),
            "Run deploys/models.py; the model's own maximum may be smaller.",
        )
    if spec.min_tokens_per_s is not None:
        yield _speed(loaded, spec.min_tokens_per_s)
    if in_part(run, spec) and loaded.on_gpu:
        yield Check("gpu", True, f"{spec.name} runs {loaded.where}, as planned.")
    elif not needs_gpu(run):
        yield Check("gpu", True, f"{spec.name} runs {loaded.where}.")
    elif loaded.on_gpu >= loaded.size:
        yield Check("gpu", True, f"{spec.name} runs wholly on the GPU.")
    else:
        yield _off_gpu(run, loaded)


def _speed(loaded: Loaded, floor: float) -> Check:
    fast = loaded.tokens_per_s >= floor
    return Check(
        "speed",
        fast,
        f"{loaded.name} generates {loaded.tokens_per_s:.1f} tokens/s"
        + ("." if fast else f" (it runs {loaded.where}), fewer than its min_tokens_per_s of {floor:g}."),
        "See what else uses the host's GPU and processor, declare a smaller model or context, or lower the floor.",
    )


def in_part(run: HostRun, spec: ModelSpec) -> bool:
    """Whether the model was planned to leave layers on the CPU."""
    plan = run.planned.plans.get(spec.name)
    return plan is not None and not plan.wholly_on_gpu


def needs_gpu(run: HostRun) -> bool:
    """A model on the CPU is a failure where a GPU is declared or seen that Ollama would use, unless the inventory says
    otherwise."""
    if run.settings.require_gpu is not None:
        return run.settings.require_gpu
    found = run.state.gpus
    integrated = wants_integrated(run.environment.variables)
    used = usable(found, run.settings.ollama_version, integrated)
    unknown = len(found.vendors) > len(found.devices)
    return bool(run.settings.gpus or used or found.error or unknown)


def use(client: ollama.Client, spec: ModelSpec) -> tuple[Loaded | None, int]:
    """Have a model answer; how it is loaded then, and of how many tokens the answer was."""
    for _ in range(MOST_ANSWERS):
        answer = client.generate(model=spec.name, prompt=PROMPT, options={"num_predict": TOKENS}, stream=False)
        tokens = int(answer.eval_count or 0)
        if tokens > 1:
            break
    speed = tokens / (answer.eval_duration / 1e9) if answer.eval_duration else 0.0
    running = api.running(client, spec.name)
    return (Loaded.of(spec.name, running, speed) if running else None), tokens


def _off_gpu(run: HostRun, loaded: Loaded) -> Check:
    """The sentence about a model that should be on the GPU and is not, with the reason as far as it shows."""
    run.changed()
    gpus = run.state.gpus
    devices = gpus.devices
    found = f"{loaded.name} runs {loaded.where}, and this host shall run it wholly on its GPU"
    if gpus.error:
        why, remedy = f"nvidia-smi says: {gpus.error}", "Repair the driver"
    elif not devices and not gpus.vendors:
        why, remedy = "the host shows no GPU", "See to the card and its driver"
    elif gpus.foreign and devices:
        why = f"other programs hold the memory of {devices[0].name} ({devices[0].total_mib} MiB): {gpus.holders}"
        remedy = "End them"
    elif devices and loaded.on_gpu:
        free = ", ".join(f"{gpu.name} has {gpu.free_mib} of {gpu.total_mib} MiB free" for gpu in devices)
        why = f"it takes {loaded.size / 2**20:.0f} MiB and {free} beside it"
        remedy = "Choose a smaller model, quantization or num_ctx"
    else:
        why, remedy = "Ollama found no GPU that it can use", run.platform.server_remedy
    evidence = run.gpu_journal().get("journal", "")
    lines = "".join(f"\n    {line}" for line in evidence.splitlines()[-4:])
    return Check("gpu", False, f"{found}: {why}.", f"{remedy}, or declare require_gpu: false.{lines}")
