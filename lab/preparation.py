"""What a host is before its first boot: an image, GPU tools, and over them a layer of files that make it this host.

The layer is made once. A reset lays an empty one over all, so it costs no more than starting the host.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import cache
from lab.certificates import Authority
from lab.config import HOSTS, MIRROR, Host, Layout, Sudo, Windows, hosts_file, machine_id
from lab.gpu import declaration, declare
from lab.layers import CODE, PREFIX
from lab.sandbox import SCRIPTS, Sandbox

SETUP, WINDOWS_SETUP = SCRIPTS / "setup-host.sh", SCRIPTS / "setup-windows-host.sh"
BARE_SETUP = SCRIPTS / "setup-bare-host.sh"
HARDWARE, HARDWARE_UNIT, DMESG = (SCRIPTS / "bare" / name for name in ("hardware.sh", "hardware.service", "dmesg.sh"))
MIRROR_SERVER = SCRIPTS / "mirror.py"
MIRROR_UNIT = SCRIPTS / "mirror.service"
WINDOWS_UNITS = (SCRIPTS / "display.service", SCRIPTS / "wineserver.service", CODE / "windows.service")
#: Where the code inside a Windows host lies, and what it is told about its machine.
WINDOWS_CODE = "usr/local/lib/lab/lab/windows"
WINDOWS_SETTINGS, WINDOWS_PASSWORD = "etc/lab-windows.json", "etc/lab-windows.password"


@dataclass(frozen=True)
class Supplies:
    """What hosts are made of. All are directories that are only read, and bear new names when they change.

    images, shaders: by host; shaders lie, with the GPU tools, over the image of a host that has GPUs.
    windows: by host, what lies over the image of a Windows host, the topmost first.
    releases, models: what the mirror serves. packages: the same, for bare hosts; None where the lab has none.
    """

    authority: Authority
    images: Mapping[str, Path]
    windows: Mapping[str, Mapping[str, Path]]
    gpu_tools: Path
    shaders: Mapping[str, Path]
    releases: Path
    models: Path
    packages: Path | None = None

    def layers(self, host: Host) -> dict[str, Path]:
        """The directories that make up a host's bare root, the topmost first, by short names."""
        gpu_layers = {"shaders": self.shaders[host.name], "tools": self.gpu_tools} if host.has_gpu_tools else {}
        return {**self.windows.get(host.name, {}), **gpu_layers, "image": self.images[host.name]}


@dataclass(frozen=True)
class HostFiles:
    """A host's directory under .lab.

    Its layers are links in it or directories; what is mounted on the root is only seen in the sandbox.
    """

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def upper(self) -> Path:
        return self.directory / "upper"

    @property
    def arguments(self) -> Path:
        """systemd-nspawn's arguments, a JSON list."""
        return self.directory / "arguments.json"

    @property
    def layers(self) -> Path:
        """The names of the layers below the host's own files, the topmost first, as overlayfs wants them."""
        return self.directory / "layers"

    @property
    def signature(self) -> Path:
        return self.directory / "signature"

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    def disk(self, number: int) -> Path:
        return self.directory / f"disk{number}"


def signature(host: Host, supplies: Supplies, layout: Layout) -> str:
    """Changes with everything that a prepared host was made from: then it has to be prepared again."""
    parts = [
        repr(host), *map(str, supplies.layers(host).values()),
        _setup(host).read_text(), Path(__file__).read_text(), _public_key(layout),
    ]  # fmt: skip
    if host == MIRROR:
        parts += [MIRROR_SERVER.read_text(), MIRROR_UNIT.read_text()]
        parts += [str(supplies.releases), str(supplies.models), str(supplies.packages)]
    if host.bare:
        parts += [path.read_text() for path in (HARDWARE, HARDWARE_UNIT, DMESG)]
    if host.windows:
        parts += [text for path in (*_windows_code(), *WINDOWS_UNITS) for text in (str(path), path.read_text())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_prepared(host: Host, supplies: Supplies, layout: Layout) -> bool:
    file = HostFiles(layout.host(host.name)).signature
    return file.exists() and file.read_text() == signature(host, supplies, layout)


def prepare(host: Host, supplies: Supplies, layout: Layout, sandbox: Sandbox) -> None:
    """Makes the host's layer; the host must be off. Killed half-way, there is no such host yet."""
    target = HostFiles(layout.host(host.name))
    unfinished = HostFiles(target.directory.with_name(f".{host.name}.unfinished"))
    for stale in (unfinished, target):
        discard(stale, host, sandbox)
    for name in ("layer", "work", "root"):
        (unfinished.directory / name).mkdir(parents=True)
    layers = supplies.layers(host)
    for name, directory in layers.items():
        (unfinished.directory / name).symlink_to(directory)
    mount_overlay(unfinished, ":".join(layers), "layer", sandbox)
    root = sandbox.path(unfinished.root)
    _write_files(host, supplies, layout, root)
    if host.has_gpu_tools:
        declare(root, host.gpus, host.name, older=not host.windows)
    _run_setup(host, layout, sandbox, unfinished.root)
    sandbox.run("umount", unfinished.root)
    unfinished.layers.write_text(":".join(("layer", *layers)))
    unfinished.arguments.write_text(json.dumps(_nspawn_arguments(host, supplies, layout, target)))
    unfinished.signature.write_text(signature(host, supplies, layout))
    unfinished.directory.rename(target.directory)


def discard(files: HostFiles, host: Host, sandbox: Sandbox) -> None:
    """Removes a host's directory, and what is mounted in it."""
    if files.directory.exists():
        unmount(files, host, sandbox)
        cache.remove(files.directory)


def mount(files: HostFiles, host: Host, sandbox: Sandbox) -> None:
    """Mounts the host's root and disks where they are not yet."""
    if not sandbox.mounted(files.root):
        for name in ("upper", "work"):
            (files.directory / name).mkdir(exist_ok=True)
        mount_overlay(files, files.layers.read_text(), "upper", sandbox)
    for number, disk in enumerate(host.disks):
        if not sandbox.mounted(files.disk(number)):
            files.disk(number).mkdir(exist_ok=True)
            sandbox.run("mount", "-t", "tmpfs", "-o", f"size={disk.size_mib}m,mode=755", "tmpfs", files.disk(number))


def unmount(files: HostFiles, host: Host, sandbox: Sandbox) -> None:
    for path in (files.root, *(files.disk(number) for number in range(len(host.disks)))):
        if sandbox.mounted(path):
            sandbox.run("umount", path)


def mount_overlay(files: HostFiles, lower: str, upper: str, sandbox: Sandbox) -> None:
    """The layers are named relative to the directory: a colon or comma in a path would be a separator."""
    options = f"lowerdir={lower},upperdir={upper},workdir=work"
    sandbox.run("mount", "-t", "overlay", "overlay", "-o", options, "root", cwd=files.directory)


def ensure_keys(hosts: tuple[Host, ...], layout: Layout) -> None:
    """The controller's key and every host's own; they last as long as the lab, over resets and set-ups."""
    for name in ("controller", *(host.name for host in hosts)):
        key = host_key(name, layout)
        if key.with_suffix(".pub").exists():
            continue
        key.parent.mkdir(parents=True, exist_ok=True)
        key.unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {name}", "-f", key],
            stdin=subprocess.DEVNULL, check=True,
        )  # fmt: skip


def host_key(name: str, layout: Layout) -> Path:
    return layout.state / "keys" / name


def _public_key(layout: Layout) -> str:
    return host_key("controller", layout).with_suffix(".pub").read_text().strip()


def _write_files(host: Host, supplies: Supplies, layout: Layout, root: Path) -> None:
    key = host_key(host.name, layout)
    files: dict[str, tuple[bytes, int]] = {
        "etc/hostname": (f"{host.name}\n".encode(), 0o644),
        "etc/hosts": (hosts_file(HOSTS, host).encode(), 0o644),
        "etc/machine-id": (f"{machine_id(layout.lab_id, host)}\n".encode(), 0o444),
        "etc/systemd/network/10-host0.network": (_network_unit(host).encode(), 0o644),
        "etc/ssh/ssh_host_ed25519_key": (key.read_bytes(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (key.with_suffix(".pub").read_bytes(), 0o644),
    }
    if host == MIRROR:
        files |= {
            "etc/mirror/certificate.pem": (supplies.authority.mirror_certificate.read_bytes(), 0o644),
            "etc/mirror/key.pem": (supplies.authority.mirror_key.read_bytes(), 0o600),
            "usr/local/lib/lab/mirror.py": (MIRROR_SERVER.read_bytes(), 0o644),
            f"etc/systemd/system/{MIRROR_UNIT.name}": (MIRROR_UNIT.read_bytes(), 0o644),
        }
    if host.bare:
        cards = "".join(
            f"{line}\n" for line in declaration(host.gpus, host.name).splitlines() if line.startswith("gpu ")
        )
        files |= {
            "etc/hardware": (cards.encode(), 0o644),
            "usr/local/lib/lab/hardware": (HARDWARE.read_bytes(), 0o755),
            "usr/local/bin/dmesg": (DMESG.read_bytes(), 0o755),
            f"etc/systemd/system/{HARDWARE_UNIT.name}": (HARDWARE_UNIT.read_bytes(), 0o644),
        }
    if host.windows:
        files |= _windows_files(host, host.windows, layout)
    for name, (content, mode) in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)


def _windows_files(host: Host, windows: Windows, layout: Layout) -> dict[str, tuple[bytes, int]]:
    settings = {
        "host": host.name,
        "user": host.user,
        "authorized_key": _public_key(layout),
        "password_file": f"/{WINDOWS_PASSWORD}",
        "host_key": "/etc/ssh/ssh_host_ed25519_key",
        "ssh_port": host.ssh_port,
        "locale": windows.locale,
        "prefix": f"/{PREFIX}",
        "drives": {"C": f"/{PREFIX}/drive_c", **dict(windows.drives)},
        "gpus": [{"name": gpu.name, "memory_mib": gpu.memory_mib} for gpu in host.gpus],
    }
    # Every service has it, and so has every Windows program that one starts.
    environment = {
        "DISPLAY": ":0",
        "LC_ALL": windows.locale,
        "PYTHONPATH": f"/{Path(WINDOWS_CODE).parents[1]}",
        "WINEDEBUG": "-all",
        "WINEPREFIX": f"/{PREFIX}",
    }
    manager = "[Manager]\n" + "".join(f"DefaultEnvironment={name}={value}\n" for name, value in environment.items())
    files: dict[str, tuple[bytes, int]] = {
        WINDOWS_SETTINGS: (json.dumps(settings, ensure_ascii=False, indent=2).encode(), 0o644),
        WINDOWS_PASSWORD: (layout.sudo_password.read_bytes(), 0o600),
        "etc/systemd/system.conf.d/windows.conf": (manager.encode(), 0o644),
    }
    files |= {f"etc/systemd/system/{unit.name}": (unit.read_bytes(), 0o644) for unit in WINDOWS_UNITS}
    return files | {f"{WINDOWS_CODE}/{path.relative_to(CODE)}": (path.read_bytes(), 0o644) for path in _windows_code()}


def _windows_code() -> list[Path]:
    """What a Windows host runs of lab/windows: all but what is compiled for Windows."""
    return sorted(path for path in CODE.rglob("*.py") if path.is_file())


def _network_unit(host: Host) -> str:
    network = host.network
    return (
        "[Match]\nName=host0\n\n[Network]\n"
        f"Address={host.address}/{network.prefix_length}\nGateway={network.gateway}\n"
        # An address is usable at once when nobody asks the network about it first.
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )


def _run_setup(host: Host, layout: Layout, sandbox: Sandbox, root: Path) -> None:
    """Runs the host's setup script in its root, with a network of its own: `ufw enable` loads its rules."""
    environment = {
        "LOGIN_USER": host.user,
        "SUDO": host.sudo,
        "PASSWORD": layout.sudo_password.read_text() if host.sudo is Sudo.PASSWORD else "",
        "SSH_PORT": host.ssh_port,
        "FIREWALL": host.firewall,
        "AUTHORIZED_KEY": _public_key(layout),
    }
    nspawn = [
        "systemd-nspawn", "--quiet", "--directory", str(root), "--private-network", "--machine", host.name,
        "--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
        "--console=pipe", *(f"--setenv={name}={value}" for name, value in environment.items()),
        "bash", "-s",
    ]  # fmt: skip
    sandbox.run_in_group(sandbox.host_group(host.name), nspawn, _setup(host).read_text())


def _setup(host: Host) -> Path:
    return WINDOWS_SETUP if host.windows else BARE_SETUP if host.bare else SETUP


def _nspawn_arguments(host: Host, supplies: Supplies, layout: Layout, files: HostFiles) -> list[str]:
    arguments = [f"--network-bridge={host.network.bridge}"]
    for number, disk in enumerate(host.disks):
        arguments.append(f"--bind={_escape(files.disk(number))}:{_escape(disk.mount_point)}")
    if host == MIRROR:
        arguments += [
            f"--bind-ro={_escape(supplies.releases)}:/srv/releases",
            f"--bind-ro={_escape(supplies.models)}:/srv/models",
            f"--bind={_escape(layout.mirror)}:/srv/control",
        ]
        if supplies.packages:
            arguments.append(f"--bind-ro={_escape(supplies.packages)}:/srv/packages")
    return arguments


def _escape(path: Path | str) -> str:
    """A colon separates systemd-nspawn's two paths."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:")
