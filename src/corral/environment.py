"""The environment of Ollama's server: every value checked and written as Ollama will read it.

Ollama reads its environment leniently: a boolean that it cannot parse is true, a number or a duration
that it cannot parse is silently the default, `http://` in OLLAMA_HOST means port 80. So a value either has
one meaning, and is written in the form that Ollama gives that meaning to, or is refused.
Source: envconfig/config.go and llm/llama_server.go of Ollama 0.34.4, gin-contrib/cors 1.7.2.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from corral.secret import BadValue

if TYPE_CHECKING:
    from corral.settings import Settings

#: The version whose source the table below was read from.
KNOWN_VERSION = "0.34.4"
DEFAULT_PORT = 11434
DEFAULT_HOST = f"0.0.0.0:{DEFAULT_PORT}"
KV_CACHE_TYPES = ("f16", "q8_0", "q4_0")
#: Other programs' variables that decide which GPUs the server sees and how its engine uses them.
GPU_NAMES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "HSA_OVERRIDE_GFX_VERSION",
)
GPU_PREFIXES = ("GGML_", "LLAMA_ARG_")
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

# strconv.ParseBool, and what people write: YAML 1.1 has made booleans of most of it already.
_TRUE = {"1", "t", "true", "y", "yes", "on"}
_FALSE = {"0", "f", "false", "n", "no", "off"}
_DURATION = re.compile(r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")
_ORIGIN_SCHEMES = (
    "http://",
    "https://",
    "chrome-extension://",
    "safari-extension://",
    "moz-extension://",
    "ms-browser-extension://",
)
_LOGGED = (
    "proxy holds a password, and Ollama writes its proxy's address into its journal at every start: root and the "
    "groups adm and systemd-journal can read it there"
)


@dataclass(frozen=True)
class Listen:
    """Where the server listens. address: an IPv4 or IPv6 address without brackets."""

    address: str
    port: int

    @property
    def loopback(self) -> bool:
        """True when only programs on the same host can reach it."""
        return ipaddress.ip_address(self.address).is_loopback

    def __str__(self) -> str:
        """As OLLAMA_HOST has it: `0.0.0.0:11434`, `[::1]:11434`."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Environment:
    """All that the server's environment will hold.

    variables: what anybody may read, in the order in which it is written: OLLAMA_HOST, OLLAMA_MODELS, then
        by name, so that the same declaration always gives the same file.
    secrets: the same for values that nobody else may see (a proxy's address with a password in it).
    listen: where the server listens.
    proxy, no_proxy: for whatever else fetches through the proxy; empty where there is none.
    warnings: sentences for the administrator; nothing is wrong with the values as such.
    """

    variables: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    listen: Listen
    proxy: str = field(repr=False)
    no_proxy: str
    warnings: tuple[str, ...]

    @property
    def bind_address(self) -> str:
        """Where the server listens: an IPv4 or IPv6 address without brackets."""
        return self.listen.address

    @property
    def own_address(self) -> str:
        """Where the host itself reaches its server."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        return everywhere.get(self.bind_address, self.bind_address)

    @property
    def port(self) -> int:
        return self.listen.port

    @property
    def loopback(self) -> bool:
        """True when only programs on the same host can reach the server."""
        return self.listen.loopback


def environment_for(settings: Settings, planned: Mapping[str, str] | None = None) -> Environment:
    """The server's whole environment: the declared variables, the settings that have keys of their own, and what
    plans decide.

    Only HTTPS_PROXY is set for a proxy: registries are asked over HTTPS, and HTTP_PROXY would also catch
    what the server's parts say to each other.
    """
    values = {
        "OLLAMA_HOST": DEFAULT_HOST,
        **(planned or {}),
        **settings.environment,
        "OLLAMA_MODELS": settings.models_dir,
    }
    secrets: dict[str, str] = {}
    proxy = settings.proxy.get_secret_value() if settings.proxy else ""
    no_proxy = ",".join(settings.no_proxy) if proxy else ""
    if proxy:
        (secrets if has_password(proxy) else values)["HTTPS_PROXY"] = proxy
    if no_proxy:
        values["NO_PROXY"] = no_proxy
    first = ("OLLAMA_HOST", "OLLAMA_MODELS")
    names = (*first, *sorted(values.keys() - set(first)))
    return Environment(
        variables={name: values[name] for name in names},
        secrets=secrets,
        listen=parse_host(values["OLLAMA_HOST"]),
        proxy=proxy,
        no_proxy=no_proxy,
        warnings=(*_warnings(settings.environment), *([_LOGGED] if secrets else [])),
    )


def normalise(declared: Mapping[str, object]) -> dict[str, str]:
    """The declared variables as they will be written, by name. One that is None is left out.

    Normalising twice changes nothing. Raises BadValue, whose path names the variable.
    """
    values: dict[str, str] = {}
    for name, value in sorted(declared.items()):
        if value is None:
            continue
        try:
            values[name] = _value(name, value)
        except BadValue as error:
            raise BadValue(error.problem, error.remedy, (name, *error.path)) from None
    quantized = values.get("OLLAMA_KV_CACHE_TYPE", "f16")
    if quantized != "f16" and values.get("OLLAMA_FLASH_ATTENTION") == "0":
        raise BadValue(
            f"a KV cache of type {quantized} needs flash attention, and OLLAMA_FLASH_ATTENTION is off",
            "Turn OLLAMA_FLASH_ATTENTION on, or set OLLAMA_KV_CACHE_TYPE to f16",
            ("OLLAMA_KV_CACHE_TYPE",),
        )
    return values


def has_password(address: str) -> bool:
    """Whether a URL holds a user or a password, and so is a secret."""
    return "@" in urlsplit(address).netloc


def parse_host(value: str) -> Listen:
    """OLLAMA_HOST as this project writes it, and every other form whose meaning is plain.

    Raises BadValue where Ollama would read something other than what was meant: a scheme without a port
    (80 or 443 there), a port out of range (11434 there), a name (whatever it resolves to at boot).
    """
    scheme, separator, rest = value.rpartition("://")
    if separator and scheme != "http":
        raise BadValue(f"{value}: the server speaks plain HTTP only", f"Write {_guess(rest)}")
    rest, _, path = rest.partition("/")
    if path:
        raise BadValue(f"{value}: the server listens at an address, not at a path", f"Write {_guess(rest)}")
    address, port = _split(rest)
    if separator and not port:
        raise BadValue(f"Ollama reads {value} as port 80", f"Write {_guess(rest)}")
    if not port:
        return Listen(_address(address, value), DEFAULT_PORT)
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise BadValue(
            f"{value}: {port} is no port, and Ollama would quietly take {DEFAULT_PORT}",
            "A port is a number from 1 to 65535",
        )
    return Listen(_address(address or "0.0.0.0", value), int(port))


def _split(text: str) -> tuple[str, str]:
    """Address and port (empty: none given) of `a.b.c.d:port`, `[v6]:port`, `:port` or an address alone."""
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        return (address, port.removeprefix(":")) if bracket else (text, "")
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, port or "(nothing)"
    return text, ""


def _address(text: str, value: str) -> str:
    if text.lower() == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or "%" in text:
        raise BadValue(
            f"{value} holds no IP address that the server could listen at",
            f"Write {DEFAULT_HOST} for every address of the host, 127.0.0.1:{DEFAULT_PORT} for the host"
            f" alone, or one of its addresses (IPv6 with a port: [::]:{DEFAULT_PORT})",
        )
    return str(address)


def _guess(hostport: str) -> str:
    """What was probably meant by a refused OLLAMA_HOST."""
    try:
        return str(parse_host(hostport.partition("/")[0]))
    except BadValue:
        return DEFAULT_HOST


def _value(name: str, value: object) -> str:
    _check_name(name)
    if isinstance(value, (dict, set)) or (isinstance(value, (list, tuple)) and name != "OLLAMA_ORIGINS"):
        raise BadValue("must be one value, not a list or a mapping", "Write it as text")
    return _CHECKS.get(name, _text)(value)


def _check_name(name: str) -> None:
    if name == "OLLAMA_MODELS":
        raise BadValue("has a setting of its own", "Set models_dir instead: its directory is made, too")
    if name.upper() in PROXY_NAMES:
        key = "no_proxy" if name.upper() == "NO_PROXY" else "proxy"
        raise BadValue("has a setting of its own", f"Set {key} instead: downloads use it too")
    if name in GPU_NAMES or (name.startswith(GPU_PREFIXES) and re.fullmatch(r"[A-Z0-9_]+", name)):
        return
    if not re.fullmatch(r"OLLAMA_[A-Z0-9_]+", name):
        close = difflib.get_close_matches(name.upper(), (*_CHECKS, *GPU_NAMES), n=1)
        meant = f"Perhaps you mean {close[0]}. " if close else ""
        raise BadValue(
            "is not a variable of Ollama's",
            f"{meant}Only OLLAMA_*, {', '.join(GPU_NAMES)}, {' and '.join(p + '*' for p in GPU_PREFIXES)}"
            " go here; anything else belongs in a drop-in of your own, which is left alone",
        )


def _text(value: object) -> str:
    """Text as Ollama will see it; it strips blanks and quotes from both ends itself."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        raise BadValue(f"{value} is a number that YAML may have changed", "Put it in quotes")
    if not isinstance(value, (str, int)):
        raise BadValue("must be text or a number", "Write it in quotes")
    text = str(value)
    if not text.isprintable():
        raise BadValue("holds a line break or a control character", "Write it on one line")
    text = text.strip().strip("\"'")
    if not text:
        raise BadValue("is empty, which Ollama reads as not set", "Give it a value or leave it out")
    return text


def _boolean(value: object) -> str:
    text = _text(value)
    if text.lower() in _TRUE:
        return "1"
    if text.lower() in _FALSE:
        return "0"
    raise BadValue(f"{text} is neither true nor false, and Ollama would take it for true", "Write true or false")


def _debug(value: object) -> str:
    text = _text(value)
    if text == "2":
        return text
    try:
        return _boolean(text)
    except BadValue:
        raise BadValue(f"{text} is not a log level", "Write 0 (info), 1 (debug) or 2 (trace)") from None


def _unsigned(value: object) -> str:
    text = _text(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]+", text) or int(text) >= 2**64:
        raise BadValue(
            f"{value} is not a whole number from 0 on, and Ollama would quietly ignore it",
            "Write digits only",
        )
    return str(int(text))


def _at_least_one(value: object) -> str:
    text = _unsigned(value)
    if text == "0":
        raise BadValue("0 requests at a time make no server; Ollama would take 1", "Write 1 or more")
    return text


def _duration(value: object) -> str:
    if isinstance(value, bool):
        raise BadValue(
            "must be a duration, not true or false", "Write -1 for ever, 0 for not at all, or a time like 30m"
        )
    text = _text(value)
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return str(int(text))
    if _DURATION.fullmatch(text):
        return text
    days = re.fullmatch(r"([0-9]+) ?d(ays?)?", text)
    example = f"{24 * int(days[1])}h" if days else "30m, 1h30m or -1 for ever"
    raise BadValue(f"{text} is not a duration, and Ollama would quietly take its default", f"Write {example}")


def _kv_cache_type(value: object) -> str:
    text = _text(value).lower()
    if text not in KV_CACHE_TYPES:
        close = difflib.get_close_matches(text, KV_CACHE_TYPES, n=1)
        raise BadValue(
            f"{text} is not a KV cache type" + (f"; did you mean {close[0]}?" if close else ""),
            f"Write {', '.join(KV_CACHE_TYPES[:-1])} or {KV_CACHE_TYPES[-1]}",
        )
    return text


def _host(value: object) -> str:
    if isinstance(value, int):
        raise BadValue(f"{value} alone would be read as a host's name", f"Write 0.0.0.0:{int(value)}")
    return str(parse_host(_text(value)))


def _origins(value: object) -> str:
    """Origins joined by commas. A bad one makes the server panic at its start (gin-contrib/cors)."""
    items = value if isinstance(value, (list, tuple)) else _text(value).split(",")
    origins = [_text(item) for item in items]
    if not origins:
        raise BadValue("is empty", "Name an origin like https://chat.example.org, or leave it out")
    for origin in origins:
        if "," in origin or " " in origin:
            raise BadValue(f"{origin} is not one origin", "Write a list with one origin per entry")
        if origin.count("*") > 1:
            raise BadValue(f"{origin} has more than one *, at which the server would not start", "Use * once")
        if "*" not in origin and not origin.startswith(_ORIGIN_SCHEMES):
            raise BadValue(
                f"{origin} names no scheme, at which the server would not start",
                f"Write http://{origin}, https://{origin} or *",
            )
    return ",".join(origins)


#: How each variable that Ollama knows is read.
_CHECKS: Mapping[str, Callable[[object], str]] = {
    "OLLAMA_AUTH": _boolean,
    "OLLAMA_CONTEXT_LENGTH": _unsigned,
    "OLLAMA_CREATE_REMOTE": _boolean,
    "OLLAMA_DEBUG": _debug,
    "OLLAMA_DEBUG_LOG_REQUESTS": _boolean,
    "OLLAMA_EDITOR": _text,
    "OLLAMA_FLASH_ATTENTION": _boolean,
    "OLLAMA_GO_TEMPLATE": _boolean,
    "OLLAMA_GPU_OVERHEAD": _unsigned,
    "OLLAMA_HOST": _host,
    "OLLAMA_IGPU_ENABLE": _boolean,
    "OLLAMA_KEEP_ALIVE": _duration,
    "OLLAMA_KV_CACHE_TYPE": _kv_cache_type,
    "OLLAMA_LIBRARY_PATH": _text,
    "OLLAMA_LLM_LIBRARY": _text,
    "OLLAMA_LOAD_TIMEOUT": _duration,
    "OLLAMA_MAX_LOADED_MODELS": _unsigned,
    "OLLAMA_MAX_QUEUE": _unsigned,
    "OLLAMA_MAX_TRANSFER_STREAMS": _unsigned,
    "OLLAMA_NOHISTORY": _boolean,
    "OLLAMA_NOPRUNE": _boolean,
    "OLLAMA_NO_CLOUD": _boolean,
    "OLLAMA_NUM_PARALLEL": _at_least_one,
    "OLLAMA_ORIGINS": _origins,
    "OLLAMA_REMOTES": _text,
    "OLLAMA_SCHED_SPREAD": _boolean,
    "OLLAMA_VULKAN": _boolean,
    # Read up to 0.24.0, ignored since.
    "OLLAMA_MULTIUSER_CACHE": _boolean,
    "OLLAMA_NEW_ENGINE": _boolean,
}


def _warnings(values: Mapping[str, str]) -> tuple[str, ...]:
    warnings = []
    for name in values:
        if name.startswith("OLLAMA_") and name not in _CHECKS:
            close = difflib.get_close_matches(name, _CHECKS, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            warnings.append(f"{name}: not known to Ollama {KNOWN_VERSION}{meant}")
    cache = values.get("OLLAMA_KV_CACHE_TYPE", "f16")
    if cache != "f16" and "OLLAMA_FLASH_ATTENTION" not in values:
        warnings.append(
            f"OLLAMA_KV_CACHE_TYPE: {cache} works with flash attention only: set OLLAMA_FLASH_ATTENTION, too"
        )
    return tuple(warnings)
