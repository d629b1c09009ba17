"""Brings the lab up and takes it down."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import yaml

from lab import controller, preparation
from lab.certificates import ensure_authority
from lab.config import HOSTS, VERSIONS, Host, Layout, cache_directory
from lab.gpu import ensure_gpu_tools, ensure_shaders
from lab.hosts import Lab, State, each
from lab.images import Image, ensure_image
from lab.layers import ensure_layers
from lab.packages import ensure_package_source
from lab.preparation import Supplies
from lab.progress import Progress
from lab.releases import ensure_releases, pins
from lab.sandbox import SCRIPTS, end_group
from lab.weights import ensure_models


def bring_up(layout: Layout, hosts: Sequence[Host], versions: Sequence[str], progress: Progress) -> None:
    """Makes what is missing and starts what is off; says nothing when there is nothing to do.

    hosts: those that are to be up; others that are up stay so.
    versions: Ollama's, served by the mirror, beside those that it serves already.
    Raises LabError. Killed at any point, the next call goes on, and `take_down` finds everything.
    """
    lab = Lab(layout)
    with _only_one(progress):
        lab.sandbox.join()
        layout.state.mkdir(exist_ok=True)
        _write_sudo_password(layout)
        preparation.ensure_keys(tuple(hosts), layout)
        supplies = gather(_with_bare(hosts, layout), _versions(versions, layout), progress)
        lab.sandbox.start()
        layout.mirror.mkdir(exist_ok=True)
        changed = [host for host in hosts if not preparation.is_prepared(host, supplies, layout)]
        if changed:
            with progress.step(f"preparing {_names(changed)}"):
                each(changed, lambda host: _prepare(lab, host, supplies))
        controller.write_files(lab)
        _write_pins(layout, supplies.releases)
        started = [host for host in hosts if lab.state(host.name) in (State.OFF, State.STARTING)]
        if started:
            with progress.step(f"starting {_names(started)}"):
                each(started, lambda host: lab.boot(host.name, wait=False))
                each(started, lambda host: lab.wait(host.name))


def take_down(layout: Layout, progress: Progress) -> None:
    """Leaves nothing of the lab behind but the cache, whatever state it was in."""
    lab = Lab(layout)
    # First of all: a command of the lab that still holds the lock ends by this.
    lab.sandbox.kill_all()
    with _only_one(progress):
        lab.sandbox.destroy()


def gather(hosts: Sequence[Host], versions: Sequence[str], progress: Progress) -> Supplies:
    """Images, releases, models and GPU tools, from the cache or made now."""
    authority = ensure_authority(cache_directory())
    kinds = {host.name: Image.of(host) for host in hosts}
    wanted = list(dict.fromkeys(kinds.values()))
    with ThreadPoolExecutor() as pool:
        made = dict(zip(wanted, pool.map(lambda kind: ensure_image(kind, authority, progress), wanted), strict=True))
    images = {name: made[kind] for name, kind in kinds.items()}
    windows = any(host.windows for host in hosts)
    releases, models = ensure_releases(versions, progress, windows=windows), ensure_models(progress)
    tools, windows_layers = ensure_gpu_tools(progress), ensure_layers(hosts, images, progress)
    by_suite: dict[str, list[Host]] = {}
    for host in hosts:
        if host.has_gpu_tools:
            by_suite.setdefault(host.suite, []).append(host)

    def compiled(of: Sequence[Host]) -> list[tuple[str, Path]]:
        # Windows programs ask for the same shaders as Linux programs do: those of Ollama for Linux serve them.
        return [
            (host.name, ensure_shaders(host.suite, images[host.name], releases, tools, models, progress)) for host in of
        ]

    # Compiling shaders keeps one core busy, so the suites don't wait for each other.
    with ThreadPoolExecutor() as pool:
        shaders = dict(chain.from_iterable(pool.map(compiled, by_suite.values())))
    bare = next((host for host in hosts if host.bare), None)
    packages = None
    if bare:
        # Compiled with the same Mesa as its package source has, in the image of its suite that has it.
        whole = ensure_image(Image(bare.suite), authority, progress)
        compiled_for_bare = ensure_shaders(bare.suite, whole, releases, tools, models, progress)
        packages = ensure_package_source(bare.suite, images[bare.name], tools, compiled_for_bare, progress)
    return Supplies(authority, images, windows_layers, tools, shaders, releases, models, packages)


def _with_bare(hosts: Sequence[Host], layout: Layout) -> list[Host]:
    """These, and the bare ones that there are already: the mirror would be made anew if it lost their packages."""
    there = [host for host in HOSTS if host.bare and layout.host(host.name).exists()]
    return list(dict.fromkeys((*hosts, *there)))


def _versions(wanted: Sequence[str], layout: Layout) -> list[str]:
    """Those wanted and those that there are: hosts would be made anew if they lost one, shaders and all."""
    served = yaml.safe_load(layout.pins.read_text()) or {} if layout.pins.exists() else {}
    return [version for version in VERSIONS if version in wanted or version in served]


def _prepare(lab: Lab, host: Host, supplies: Supplies) -> None:
    end_group(lab.sandbox.host_group(host.name))
    preparation.prepare(host, supplies, lab.layout, lab.sandbox)


def _write_sudo_password(layout: Layout) -> None:
    if not layout.sudo_password.exists():
        _write_atomically(layout.sudo_password, secrets.token_urlsafe(12), 0o600)


def _write_pins(layout: Layout, releases: Path) -> None:
    """The digests of the lab's own releases, in the format of corral's pins: version, asset, SHA-256."""
    lines = ["# The releases that the lab's mirror serves.\n"]
    for version, digests in pins(releases).items():
        lines.append(f"{version}:\n")
        lines += [f"  {asset}: {digest}\n" for asset, digest in digests.items()]
    _write_atomically(layout.pins, "".join(lines), 0o644)


def _write_atomically(file: Path, text: str, mode: int) -> None:
    new = file.with_name(f".{file.name}")
    new.touch(mode)
    new.write_text(text)
    new.rename(file)


def _names(hosts: Sequence[Host]) -> str:
    names = [host.name for host in hosts]
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"


@contextmanager
def _only_one(progress: Progress) -> Iterator[None]:
    """One `up` or `down` of this checkout at a time. The lock is on a directory: it leaves no file."""
    directory = os.open(SCRIPTS, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another command is bringing this lab up or down; waiting for it")
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)
