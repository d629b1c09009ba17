"""The `corral` command. What a command needs is imported when it runs: pyinfra alone takes a second."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from click.core import ParameterSource

from corral.errors import CorralError

if TYPE_CHECKING:
    from corral.planner.models import FileModel


#: As any other error: 2 says that a deploy would change something.
click.UsageError.exit_code = 1


@click.group()
@click.version_option(package_name="corral")
def main() -> None:
    """Turns a room full of machines into working Ollama servers, and keeps them so.

    Hosts are set up with pyinfra: pyinfra inventory.py deploys/r1.py
    """


@contextmanager
def _said_plainly() -> Iterator[None]:
    """Expected failures end the command with their sentence and exit code 1."""
    try:
        yield
    except CorralError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("inventory", default="inventory.py")
@click.option("--limit", multiple=True, metavar="HOST", help="Only this host or group; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def status(inventory: str, limit: tuple[str, ...], as_json: bool) -> None:
    """Verify every host and show it in one table.

    Loads and uses each declared model, from the clients' side of the firewall, and changes nothing.
    Exit code 0: every host is as declared and serves; 1: at least one is not.
    """
    from corral import status

    with _said_plainly():
        rows = status.look(inventory, limit)
    if as_json:
        click.echo(json.dumps([row.__dict__ for row in rows], indent=2))
    else:
        status.show(rows)
    sys.exit(0 if all(row.ok for row in rows) else 1)


def _completes(names: Callable[[], Iterable[str]]) -> Callable[..., list[str]]:
    """What Tab offers: the names that begin as what is typed, or hold it."""

    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
        known = list(names())
        return [name for name in known if name.casefold().startswith(typed.casefold())] or [
            name for name in known if typed.casefold() in name.casefold()
        ]

    return complete


def _card_names() -> Iterable[str]:
    from corral.planner.cards import known_cards

    return (card.name for card in known_cards())


def _model_names() -> Iterable[str]:
    from corral.planner.catalog import catalog

    return catalog()


def _quantization_names() -> Iterable[str]:
    from corral.planner.quantization import QUANTIZATIONS

    return QUANTIZATIONS


class Size(click.ParamType[int]):
    """An amount of memory with its unit, in MiB: 24GiB, 24576MiB, 24G."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([MG])(?:i?B)?", str(value), re.IGNORECASE)
        if not found:
            self.fail(f"{value} is no amount of memory: write it like 24GiB or 512MiB", param, ctx)
        return round(float(found[1]) * (1024 if found[2] in "Gg" else 1))


@main.command(
    epilog="""\b
Examples:
  corral plan                                  (the hosts of inventory.py)
  corral plan --limit big-box --json
  corral plan --gpu "RTX 4090"
  corral plan --gpu "RTX 3090" --gpu "RTX 3090" --max-context 65536
  corral plan --gpu "2080 Ti 22GB" --model r1-32b --refused
  corral plan --gpu "RTX 3060" --model ~/models/mine.gguf
  corral plan --gpu mycard --vram 12GiB --json
"""
)
@click.argument("inventory", default="inventory.py")
@click.option("--limit", multiple=True, metavar="HOST", help="Only this host or group; may be repeated.")
@click.option(
    "--gpu", "gpus", multiple=True, metavar="NAME", help="No host, but this card; repeat it for several.",
    shell_complete=_completes(_card_names),
)  # fmt: skip
@click.option("--vram", "vram", multiple=True, type=Size(), help="Memory of each card where it is not what is sold.")
@click.option("--family", default="deepseek-r1", show_default=True, help="Choose among the models of this family.")
@click.option(
    "--model", "models", multiple=True,
    help="Plan this model only: a name of the catalog, or a GGUF file; of several, the first that fits.",
    shell_complete=_completes(_model_names),
)  # fmt: skip
@click.option(
    "--quantization", default="", help="Take this one, such as Q4_K_M.",
    shell_complete=_completes(_quantization_names),
)  # fmt: skip
@click.option("--min-context", default=4096, show_default=True, type=click.IntRange(256), help="Tokens, at least.")
@click.option("--max-context", default=16384, show_default=True, type=click.IntRange(256), help="Tokens, at most.")
@click.option(
    "--kv-type", "kv_types", multiple=True, type=click.Choice(["f16", "q8_0", "q4_0"]), default=("f16", "q8_0"),
    show_default=True, help="KV cache types that may be used, from the one that is preferred.",
)  # fmt: skip
@click.option("--reserve", default=1024, show_default=True, type=click.IntRange(0), help="MiB left free on each GPU.")
@click.option("--parallel", default=1, show_default=True, type=click.IntRange(1, 64), help="Requests at once.")
@click.option("--batch", default=512, show_default=True, type=click.IntRange(32), help="num_batch.")
@click.option("--offload", is_flag=True, help="Leave layers on the CPU when nothing fits.")
@click.option("--ollama", "version", default="", help="Version to plan for; 0.24 and older run models otherwise.")
@click.option("--refused", is_flag=True, help="List the candidates that were not taken, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(
    inventory: str,
    limit: tuple[str, ...],
    gpus: tuple[str, ...],
    vram: tuple[int, ...],
    family: str,
    models: tuple[str, ...],
    quantization: str,
    min_context: int,
    max_context: int,
    kv_types: tuple[str, ...],
    reserve: int,
    parallel: int,
    batch: int,
    offload: bool,
    version: str,
    refused: bool,
    as_json: bool,
) -> None:
    """Say which model each host would run on its GPUs, and why.

    Looks at the hosts of an INVENTORY, whose settings say what is wished for, and changes nothing. Exit code 0: a
    deploy would change nothing; 2: it would change something; 1: a host has a problem.

    With --gpu no host is asked: what would a machine with these cards run? The other options are the wishes. Exit
    code 0: there is a plan; 1: nothing fits, or a name is not known.
    """
    if not gpus:
        _plan_hosts(inventory, limit, refused, as_json)
    from corral import planview
    from corral.planner import catalog, choice
    from corral.planner.cards import imagine
    from corral.planner.memory import Generation
    from corral.planner.quantization import quantization as known_quantization

    with _said_plainly():
        if len(vram) not in (0, 1, len(gpus)):
            raise CorralError(f"--vram is given {len(vram)} times for {len(gpus)} GPUs", "Give one, or one for each")
        sizes = vram * len(gpus) if len(vram) == 1 else vram or (None,) * len(gpus)
        cards = tuple(imagine(name, size) for name, size in zip(gpus, sizes, strict=True))
        generation = Generation.of(version) if version else Generation.NEW
        wishes = choice.wishes_for(
            family,
            models,
            choice.Wishes(
                (), known_quantization(quantization).name if quantization else "", min_context, max_context, kv_types,
                reserve, parallel, batch, offload, others=tuple(map(_of_file, filter(catalog.lacks, models))),
            ),
        )  # fmt: skip
        machine = choice.Machine(cards, generation)
        found = choice.choose(machine, wishes)
        not_taken = choice.refusals(machine, wishes, found)
    if as_json:
        click.echo(json.dumps(planview.as_json(found, wishes, not_taken), indent=2))
    else:
        planview.show(found, wishes, not_taken if refused else ())


def _of_file(name: str) -> FileModel:
    """A model that the catalog lacks: its file must be here, since no host is there to ask a registry."""
    from corral.names import GgufFile, classify_from
    from corral.ollama.headers import read

    source = classify_from(name)
    if not isinstance(source, GgufFile):
        raise CorralError(
            f"--model {name}: the catalog lacks it, and with --gpu no host is there that could ask its registry",
            "Give its GGUF file instead, or declare it under models in an inventory and run corral plan without --gpu",
        )
    return read(name, Path(source.path).expanduser())


def _plan_hosts(inventory: str, limit: tuple[str, ...], refused: bool, as_json: bool) -> NoReturn:
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("inventory", "limit", "refused", "as_json"):
            raise click.ClickException(f"{parameter.opts[0]} goes with --gpu; for hosts it is the inventory that says")
    from corral import hostplans, planview

    with _said_plainly():
        found = hostplans.plan(inventory, limit)
    if as_json:
        click.echo(json.dumps([host.as_json() for host in found], indent=2))
    else:
        planview.show_hosts(found, refused)
    sys.exit(hostplans.exit_code(found))


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def accuracy(file: Path, as_json: bool) -> None:
    """Compare the planner's predictions with the measurements in a CSV FILE.

    Its columns are those of tests/data/vram-measured.csv; a term that was not measured is left empty. `arch` is a
    name of the catalog or a GGUF file beside the CSV; `note` may say gen=legacy or gen=new, ub=BATCH, backend=NAME.
    """
    from corral import accuracyview
    from corral.planner import accuracy

    with _said_plainly():
        summary = accuracy.compare(file)
    if as_json:
        click.echo(json.dumps(summary.as_json(), indent=2))
    else:
        accuracyview.show(summary)


@main.command(
    epilog="""\b
Examples:
  corral pin 0.35.0                            (into corral's own pins)
  corral pin 0.35.0 --pins inventory/pins.yml  (for ollama_pins: pins.yml)
  corral pin 0.35.0 --sums ./sha256sum.txt     (already downloaded)
"""
)
@click.argument("version")
@click.option("--pins", type=click.Path(dir_okay=False, path_type=Path), help="The file to write to.")
@click.option("--sums", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The release's list, here.")
@click.option("--url", default="", help="Where releases lie, as the setting ollama_release_url.")
@click.option("--replace", is_flag=True, help="Replace digests that the file has for this version.")
def pin(version: str, pins: Path | None, sums: Path | None, url: str, replace: bool) -> None:
    """Write the digests of a release of Ollama into a file of pins.

    They are read from the release's own sha256sum.txt, once, on this machine: hosts install only what is pinned.
    Look at the change and commit it. Changes no host.
    """
    from corral import versions
    from corral.ollama import pinning
    from corral.settings import RELEASES

    with _said_plainly():
        number = versions.release(version)
        text = sums.read_text(encoding="utf-8", errors="replace") if sums else pinning.fetch(number, url or RELEASES)
        assets = pinning.digests(text, str(sums or pinning.SUMS))
        path = pins or pinning.own_pins()
        changed = pinning.pin(number, assets, path, replace=replace)
    click.echo(f"{path}: Ollama {number} {'is pinned' if changed else 'was pinned already'} ({', '.join(assets)})")
    if changed:
        click.echo(f"Hosts get it with ollama_version: {number}")


@main.command("settings")
def list_settings() -> None:
    """List everything that can be set for a host, as README does."""
    from corral.reference import plan_table, settings_table

    click.echo(f"{settings_table()}\n{plan_table()}", nl=False)


if __name__ == "__main__":
    main()
