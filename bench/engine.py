"""How far the planner's formulas are from what Ollama's own engine says:  lab/run python -m bench.engine

Asks the engine on the lab's host rtx4090 (which deploys/r1.py has set up) with skeletons of the R1 distills and of
other families, on cards of other sizes than the host's, which are declared for each question. Nothing is loaded.
Prints the worst differences by family; with --all every question.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.families import MIXED, OTHERS
from corral import layout
from corral.engine.ask import DeviceAnswer, arguments, parse
from corral.engine.skeleton import skeleton
from corral.planner import catalog
from corral.planner.architecture import Architecture
from corral.planner.memory import MIB, Backend, Load, memory, place
from corral.planner.quantization import weights
from lab.hosts import Lab

HOST = "rtx4090"
SCRATCH = "/var/tmp/corral-bench"
ASK = Path(__file__).with_name("ask_engine.sh")
#: Cards by name, in MiB each; of "huge" ones every question fits.
CARDS = {"8 GB": (8192,), "24 GB": (24564,), "2x24 GB": (24564, 24564), "huge": (1_000_000,)}
CONTEXTS = (4096, 16384, 65536, 131072)
#: What the driver keeps of a declared card.
RESERVED_MIB = 512


@dataclass(frozen=True)
class Question:
    model: str
    arch: Architecture
    mix: str
    cards: str
    load: Load

    def __str__(self) -> str:
        load = self.load
        flash = "" if load.flash else ", no flash attention"
        return f"{self.model} {self.mix} on {self.cards}: {load.context} x {load.parallel}, {load.kv_type}{flash}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="print every question with its answer")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only these")
    options = parser.parse_args()
    lab = Lab()
    lab.check(HOST, f"mkdir -p {SCRATCH} && cat > {SCRATCH}/ask && chmod +x {SCRATCH}/ask", stdin=ASK.read_text())
    worst: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    asked = 0
    for model, arch in models().items():
        if options.models and model not in options.models:
            continue
        mix = "Q8_0" if model in MIXED else "Q4_K_M"
        body = skeleton(arch, mix)
        lab.check(HOST, f"cat > {SCRATCH}/model.gguf", stdin=gzip.decompress(body.header))
        lab.check(HOST, f"truncate -s {body.size} {SCRATCH}/model.gguf && chmod -R a+rX {SCRATCH}")
        for question in questions(model, arch, mix):
            answers = ask(lab, question)
            asked += 1
            for answer, (weight, cache, graph) in zip(answers, predicted(question), strict=True):
                differences = (
                    weight - answer.weights_mib,
                    cache - answer.kv_mib,
                    (graph - answer.graph_mib) / answer.graph_mib * 100,
                )
                worst[model] = [max(one, abs(new)) for one, new in zip(worst[model], differences, strict=True)]
                if options.all:
                    print(
                        f"{question}, {answer.device}: weights {weight:.1f}/{answer.weights_mib} MiB, "
                        f"KV cache {cache:.1f}/{answer.kv_mib} MiB, graph {graph:.1f}/{answer.graph_mib} MiB"
                    )
    lab.exec(HOST, f"rm -rf {SCRATCH}")
    print(f"{asked} questions; the engine's numbers are whole MiB, rounded down")
    print(f"{'model':16} {'weights, MiB':>14} {'KV cache, MiB':>14} {'graph, %':>10}   (worst differences)")
    for model, (weight, cache, graph) in worst.items():
        print(f"{model:16} {weight:14.2f} {cache:14.2f} {graph:10.2f}")


def models() -> dict[str, Architecture]:
    return {name: entry.architecture for name, entry in catalog.catalog().items()} | OTHERS | MIXED


def questions(model: str, arch: Architecture, mix: str) -> Iterator[Question]:
    """Every context and type of cache on every set of cards; several requests and no flash attention on the one that
    holds all."""
    for cards, context, kv_type in itertools.product(CARDS, CONTEXTS, ("f16", "q8_0", "q4_0")):
        if context <= arch.context:
            yield Question(model, arch, mix, cards, Load(context, kv_type, backend=Backend.VULKAN))
    for parallel in (2, 4):
        yield Question(model, arch, mix, "huge", Load(4096, parallel=parallel, backend=Backend.VULKAN))
    for context in (4096, 8192):
        yield Question(model, arch, mix, "huge", Load(context, flash=False, backend=Backend.VULKAN))


def predicted(question: Question) -> list[tuple[float, float, float]]:
    """Weights, KV cache and graph of each device, in MiB."""
    arch, load = question.arch, question.load
    shares = tuple(size - RESERVED_MIB for size in CARDS[question.cards])
    found = memory(arch, weights(arch, question.mix), load, place(arch.layers, load, shares))
    return [(use.weights / MIB, use.kv / MIB, use.graph / MIB) for use in found.devices]


def ask(lab: Lab, question: Question) -> tuple[DeviceAnswer, ...]:
    """What the engine says before it loads anything; it is ended then."""
    cards = "".join(
        f"gpu {size} {RESERVED_MIB} 8.9 54291806-07ef-59d5-ab6a-1cc8e6f1632{number} NVIDIA GeForce RTX 4090\n"
        for number, size in enumerate(CARDS[question.cards])
    )
    count = str(len(CARDS[question.cards]))
    script = [f"{SCRATCH}/ask", layout.CURRENT, count, *arguments(question.load)]
    declared = f"driver 550.144.03\ncuda 12.4\n{cards}"
    return parse(lab.check(HOST, ["env", "-C", SCRATCH, *script], stdin=declared))


if __name__ == "__main__":
    main()
