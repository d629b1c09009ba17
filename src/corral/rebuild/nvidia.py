"""The stages driver and reboot for NVIDIA's cards: which packages, and whether what they brought is at work. Pure.

Debian has one package, `nvidia-driver`, of the branch that its suite (or NVIDIA's own repository, or backports) has;
Ubuntu has one per branch, `nvidia-driver-570-server` for servers, and modules that are built and signed for its kernels
(https://documentation.ubuntu.com/server/how-to/graphics/install-nvidia-drivers/).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from corral import layout
from corral.changes import Change
from corral.errors import CorralError
from corral.gpus.judgement import LEAST_DRIVER, LEAST_DRIVER_BEFORE, LLAMA_SERVER
from corral.probe.state import LinuxState
from corral.rebuild import packages
from corral.rebuild.system import System
from corral.scripts import Script
from corral.versions import numbers
from corral.words import joined

#: The last branch for Maxwell, Pascal and Volta (NVIDIA's notice of support for them); newer ones are taken only when
#: they are declared.
NEWEST = 580
DEBIAN = "nvidia-driver"
UBUNTU = re.compile(r"nvidia-driver-(\d+)(-server)?(-open)?")
#: What Debian's own package of the driver only recommends, or needs beside it, and NVIDIA's repository has in others.
BESIDE = ("nvidia-smi", "libcuda1", "nvidia-persistenced")
PERSISTENCE = "nvidia-persistenced.service"
BLOCK_TEXT = """\
# Made by corral: NVIDIA's own driver, not nouveau, is to run the cards.
blacklist nouveau
options nouveau modeset=0
"""
#: Of the kernel's log, to what helps.
REMEDIES = (
    (r"API mismatch", "Two versions of the driver are mixed: remove what is not of the packages, and run again"),
    (
        r"Required key not available|Lockdown|signature and/or required key",
        "Secure Boot refuses it: enroll the key, as deploys/rebuild.py says, or switch Secure Boot off in the firmware",
    ),
    (
        r"open kernel modules|open GPU kernel",
        "This card needs the open modules: install nvidia-open-kernel-dkms (Ubuntu: the package with -open), reboot",
    ),
    (
        r"not supported by|is supported through the NVIDIA|legacy",
        "This branch does not know the card: declare another as nvidia_driver, and run again",
    ),
    (r"nouveau", f"nouveau has the card: see {layout.NOUVEAU_BLOCK} and update-initramfs -u, and reboot"),
    (
        r"fallen off the bus|RmInitAdapter failed|BAR\d? .*(assign|0M)",
        "The card itself does not answer: see its seat, its power and the firmware's settings (above 4G decoding)",
    ),
)


@dataclass(frozen=True)
class Seen:
    """A host as its two probes saw it at one time."""

    state: LinuxState
    system: System

    @property
    def cards(self) -> list[str]:
        """The places on the bus of the NVIDIA cards that the host has for itself."""
        return [card.bus_id for card in self.state.gpus.cards if card.vendor == "NVIDIA" and card.driver != "vfio-pci"]

    @property
    def loaded(self) -> str:
        """The version of the driver that answers; "" for none."""
        return next((device.driver for device in self.state.gpus.devices if device.vendor == "NVIDIA"), "")

    @property
    def installed(self) -> int | None:
        """The branch of the driver that is installed as a package, the newest if there are several."""
        versions = {package: (version,) for package, version in self.system.installed.items()}
        return max((branch for _, branch in _branches(versions)), default=None)


@dataclass(frozen=True)
class Wanted:
    """branch: the declared one; None: the newest that will do. least: what this version of Ollama needs."""

    branch: int | None
    least: int

    @classmethod
    def of(cls, branch: int | None, ollama_version: str) -> Wanted:
        """Raises CorralError for a declared branch that is too old for this version of Ollama."""
        least = LEAST_DRIVER if numbers(ollama_version) >= LLAMA_SERVER else LEAST_DRIVER_BEFORE
        if branch is not None and branch < least:
            raise CorralError(
                f"nvidia_driver: {branch} is too old: Ollama {ollama_version} needs {least}",
                f"Declare {least} or newer, or leave it out",
            )
        return cls(branch, least)

    def takes(self, branch: int | None) -> bool:
        """Whether a driver of this branch is as wanted where it is there already."""
        if branch is None:
            return False
        return branch == self.branch if self.branch is not None else branch >= self.least

    def __str__(self) -> str:
        return f"branch {self.branch}" if self.branch else f"the newest branch from {self.least} to {NEWEST}"


def branch_of(version: str) -> int | None:
    """570 of "570.133.20-1" and of "1:570.133.20-1"."""
    found = numbers(version.partition(":")[2] or version)
    return found[0] if found else None


def serves(seen: Seen, wanted: Wanted) -> bool:
    """Whether the driver that is wanted is at work."""
    return wanted.takes(branch_of(seen.loaded))


def changes(look: Callable[[], Seen], wanted: Wanted, proxy: Mapping[str, str]) -> Iterator[Change]:
    """What must be done so that the driver is installed; look: the host as it is when a change has been made, and the
    same as before where none is made (--dry). Raises CorralError for what stands in the way."""
    seen = look()
    _check_hand_made(seen, wanted)
    if seen.system.hand_made:
        return
    if not serves(seen, wanted) and not _is_installed(seen, wanted):
        _check_system(seen)
        if seen.state.os_id == "debian":  # which builds its modules on every host
            _check_secure_boot(seen, 0)
        if seen.system.interrupted:
            yield Change("finish what dpkg was interrupted in", packages.install((), proxy))
        if choose(seen.system.offers, wanted) is None:
            before = seen
            yield packages.look_for("NVIDIA's driver", _components(seen), proxy)
            seen = look()
            if seen is before:
                yield _install("NVIDIA's driver", (), 0, seen, wanted, proxy)
                return
        package, branch = _chosen(seen, wanted)
        _check_secure_boot(seen, branch)
        yield _install(f"NVIDIA's driver {branch}", _packages(package, branch, seen), branch, seen, wanted, proxy)
    elif seen.installed and (seen.system.block != BLOCK_TEXT or seen.system.initramfs_older):
        yield Change("keep nouveau off the cards", _script((), "", proxy))
    if look().system.persistence == "disabled":
        yield Change(f"enable {PERSISTENCE}", Script("rebuild/enable.sh", {"UNIT": PERSISTENCE}))


def reboot_reason(seen: Seen, wanted: Wanted) -> str:
    """Why the host must be rebooted for its driver; "" where it need not. Raises CorralError where it was, and the
    driver does not work all the same."""
    if not seen.cards or seen.system.hand_made or seen.installed is None or _is_at_work(seen):
        return ""
    if seen.system.since_boot:
        return f"NVIDIA's driver {seen.installed} was installed since the host has booted"
    if newer := [kernel for kernel in seen.system.modules if _order(kernel) > _order(seen.system.kernel)]:
        return f"NVIDIA's driver {seen.installed} is there for Linux {', '.join(sorted(newer, key=_order))}"
    raise does_not_load(seen)


def does_not_load(seen: Seen) -> CorralError:
    """The driver is installed, the host has booted since, and no driver answers: with what the kernel said of it."""
    drivers = {card.bus_id: card.driver for card in seen.state.gpus.cards}
    where = ", ".join(
        f"{card} {f'runs on {drivers[card]}' if drivers[card] else 'has no driver'}" for card in seen.cards
    )
    system = seen.system
    remedy = next((text for pattern, text in REMEDIES if re.search(pattern, system.kernel_log, re.IGNORECASE)), "")
    if system.kernel not in system.modules:
        remedy = f"It was not built for Linux {system.kernel}: install linux-headers-{system.kernel}, see dkms status "
        remedy += f"and dkms autoinstall -k {system.kernel}, and run again"
    return CorralError(
        f"NVIDIA's driver {seen.installed} is installed and does not load: the card {where}",
        remedy or "See modprobe nvidia and dmesg on the host, and run again",
        system.kernel_log or "The kernel's log says nothing of it (dmesg | grep -iE 'nvrm|nvidia|nouveau').",
    )


def choose(offers: Mapping[str, tuple[str, ...]], wanted: Wanted) -> tuple[str, int] | None:
    """The package of apt's sources to install, and its branch; of one branch, the package for servers first.

    Those with the open modules, which older cards can't use, are left to people.
    """
    good = [
        (branch, package.endswith("-server"), package)
        for package, branch in _branches(offers)
        if not package.endswith("-open")
        and (branch == wanted.branch if wanted.branch is not None else wanted.least <= branch <= NEWEST)
    ]
    if not good:
        return None
    branch, _, package = max(good)
    return package, branch


def _branches(versions: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, int]]:
    """The driver's packages among these, each with its branch; versions: those of each package."""
    for package, each in versions.items():
        if match := UBUNTU.fullmatch(package):
            yield package, int(match[1])
        elif package == DEBIAN:
            yield from ((package, branch) for branch in map(branch_of, each) if branch is not None)


def _order(kernel: str) -> tuple[int, ...]:
    """(6, 1, 0, 30) of "6.1.0-30-amd64": what the boot loader starts is the newest."""
    return tuple(map(int, re.findall(r"\d+", kernel.partition("-amd")[0].partition("-generic")[0])))


def _is_at_work(seen: Seen) -> bool:
    """Whether the driver that answers is the one that is installed."""
    return bool(seen.loaded) and branch_of(seen.loaded) == seen.installed


def _is_installed(seen: Seen, wanted: Wanted) -> bool:
    return wanted.takes(seen.installed) and not seen.system.interrupted


def _chosen(seen: Seen, wanted: Wanted) -> tuple[str, int]:
    chosen = choose(seen.system.offers, wanted)
    if chosen is None:
        there = sorted({branch for _, branch in _branches(seen.system.offers)})
        raise CorralError(
            f"the package sources of this host have no NVIDIA driver of {wanted}"
            + (f"; they have {joined([str(branch) for branch in there])}" if there else ", nor any other"),
            "Declare one of those that they have as nvidia_driver, or add a source that has it: backports, or NVIDIA's "
            "own for this system (its CUDA repository)"
            if there
            else "Add a source that has it: Debian's own with contrib and non-free, backports, or NVIDIA's own for "
            "this system (its CUDA repository)",
        )
    return chosen


def _packages(package: str, branch: int, seen: Seen) -> tuple[str, ...]:
    """The driver, what is installed beside it, and what its module is built with, or the module itself."""
    offers, kernel = seen.system.offers, seen.system.kernel
    if match := UBUNTU.fullmatch(package):
        modules = f"linux-modules-nvidia-{match[1]}{match[2] or ''}"
        if f"{modules}-{kernel}" in offers:
            flavour = f"{modules}-generic"
            return (package, f"{modules}-{kernel}", *([flavour] if flavour in offers else []))
        return (package, *_headers(seen))
    beside = [name for name in BESIDE if any(branch_of(version) == branch for version in offers.get(name, ()))]
    return (package, *beside, *_headers(seen))


def _headers(seen: Seen) -> tuple[str, ...]:
    """What the module is built with: headers for the running kernel, or, where the sources have them no longer, the
    newest kernel with its own. Raises CorralError where there is neither."""
    system = seen.system
    flavour = "generic" if seen.state.os_id == "ubuntu" else system.apt
    # With a kernel that apt keeps new its headers must come along, or the next one has no driver.
    follow = (f"linux-headers-{flavour}",) if f"linux-image-{flavour}" in system.installed else ()
    if system.headers:
        return follow
    if f"linux-headers-{system.kernel}" in system.offers:
        return (f"linux-headers-{system.kernel}", *follow)
    newest = (f"linux-image-{flavour}", f"linux-headers-{flavour}")
    if all(name in system.offers for name in newest):
        return newest
    raise CorralError(
        f"the package sources have no headers for Linux {system.kernel}, with which NVIDIA's module would be built",
        "Install a kernel of the distribution's and its headers (linux-image-... and linux-headers-...), and run again",
    )


def _install(
    what: str, names: tuple[str, ...], branch: int, seen: Seen, wanted: Wanted, proxy: Mapping[str, str]
) -> Change:
    preferences = _preferences(branch) if branch and names[0] == DEBIAN else ""
    detail = [f"packages: {', '.join(names)}" if names else f"{wanted}, as far as the sources have it"]
    if preferences:
        detail.append(f"{layout.NVIDIA_PREFERENCES} keeps it on branch {branch}")
    if names and f"linux-headers-{seen.system.kernel}" not in names and f"linux-image-{seen.system.apt}" in names:
        detail.append(f"with the newest kernel: there are no headers for Linux {seen.system.kernel} any more")
    detail.append(f"{layout.NOUVEAU_BLOCK} keeps nouveau off the cards")
    return Change(f"install {what}", _script(names, preferences, proxy), tuple(detail))


def _script(names: tuple[str, ...], preferences: str, proxy: Mapping[str, str]) -> Script:
    return packages.script(
        "nvidia.sh",
        proxy,
        PACKAGES=names,
        BLOCK=layout.NOUVEAU_BLOCK,
        BLOCK_TEXT=BLOCK_TEXT,
        PREFERENCES=layout.NVIDIA_PREFERENCES,
        PREFERENCES_TEXT=preferences,
    )


def _preferences(branch: int) -> str:
    """apt_preferences(5): over 1000, so that a branch that was declared is gone back to, too."""
    return (
        f"# Made by corral: NVIDIA's driver stays on branch {branch}.\n"
        "Package: nvidia-* libnvidia-* libcuda1 libnvcuvid1 xserver-xorg-video-nvidia* firmware-nvidia-gsp\n"
        f"Pin: version {branch}.*\n"
        "Pin-Priority: 1001\n"
    )


def _components(seen: Seen) -> tuple[str, ...]:
    """Of Debian's archive, what the driver and its firmware lie in; Ubuntu's sources have all of theirs."""
    if seen.state.os_id != "debian":
        return ()
    return ("contrib", "non-free", "non-free-firmware")


def _check_hand_made(seen: Seen, wanted: Wanted) -> None:
    if not seen.system.hand_made or wanted.takes(branch_of(seen.loaded)):
        return
    state = f"its driver {seen.loaded} is not as wanted ({wanted})" if seen.loaded else "its driver does not answer"
    raise CorralError(
        f"NVIDIA's own installer was used here ({seen.system.hand_made}) and {state}; corral leaves such drivers alone",
        f"Remove it (nvidia-uninstall) and run again, or install {wanted} with NVIDIA's installer yourself",
        seen.system.kernel_log,
    )


def _check_system(seen: Seen) -> None:
    if seen.system.apt and seen.state.os_id in ("debian", "ubuntu"):
        return
    raise CorralError(
        f"corral installs NVIDIA's driver on Debian and Ubuntu only, and this is {seen.state.os_name}",
        "Install it there as the distribution says (RHEL, Fedora and SUSE: NVIDIA's CUDA repository, package "
        "nvidia-driver or nvidia-open), reboot, and run again",
    )


def _check_secure_boot(seen: Seen, branch: int) -> None:
    """What the distribution has built is signed with its key; what is built on the host is not trusted yet."""
    system = seen.system
    if not system.secure_boot or system.key_enrolled:
        return
    if any(f"linux-modules-nvidia-{branch}{kind}-{system.kernel}" in system.offers for kind in ("", "-server")):
        return
    raise CorralError(
        "Secure Boot is on, and the firmware will not trust NVIDIA's module, which is built and signed on this host",
        "Enroll the host's own key first, with somebody at its console, or switch Secure Boot off in the firmware",
        "apt-get install dkms mokutil openssl\n"
        "test -e /var/lib/dkms/mok.pub || dkms generate_mok\n"
        "mokutil --import /var/lib/dkms/mok.pub        # asks for a new password, once\n"
        "reboot                                        # at its console: Enroll MOK, Continue, Yes, that password\n"
        "mokutil --test-key /var/lib/dkms/mok.pub      # says: is already enrolled\n"
        "Then run deploys/rebuild.py again.",
    )
