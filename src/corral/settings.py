"""What can be set for a host: every key with its type, default and meaning, checked before anything is done.

The names are the keys in an inventory's YAML and in group_data/*.py alike. Nothing here does I/O except
reading a secret from the file that a declaration names.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from corral import layout, layout_windows, versions
from corral.environment import DEFAULT_HOST, KNOWN_VERSION, has_password, normalise
from corral.errors import CorralError
from corral.firewall.scope import Scope
from corral.modelfile import TEMPLATE_NAMES, Setting, parameter
from corral.names import ModelName, classify_from
from corral.planner import catalog
from corral.planner.choice import RESERVE_MIB, Wishes, wishes_for
from corral.planner.memory import BATCH
from corral.planner.models import FileModel
from corral.planner.quantization import quantization
from corral.secret import BadValue, Secret, Sources, read_secret

#: Host data that names the inventory's file: relative paths start from its directory.
INVENTORY_KEY = "corral_inventory"
WINDOWS_START_TIMEOUT_S = 180
RELEASES = "https://github.com/ollama/ollama/releases/download/v{version}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a declaration. path: keys and list positions from the outside in."""

    path: tuple[str | int, ...]
    problem: str
    remedy: str

    def text(self, prefix: str = "") -> str:
        """One line: where, what, and what to do."""
        where = f"{dotted(self.path)}: " if self.path else ""
        return str(CorralError(f"{prefix}{where}{self.problem}", self.remedy))


@dataclass(frozen=True)
class Entry:
    """A setting as README describes it. kind, default and example are written as in YAML."""

    key: str
    kind: str
    default: str
    description: str
    example: str


def _setting(default: Any, *, kind: str, shown: str, example: str, description: str) -> Any:
    """A field with all that README says about it. shown: the default as people read it."""
    return Field(
        default=default,
        description=description,
        examples=[example],
        json_schema_extra={"kind": kind, "shown": shown},
    )


class PlanSpec(BaseModel):
    """What is asked of a model that corral chooses for the host's GPUs; see planner.choice.Wishes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)

    family: str = _setting(
        "deepseek-r1",
        kind="name",
        shown="deepseek-r1",
        example="deepseek-r1",
        description="The family of the catalog whose largest model that fits is taken.",
    )
    model: str = _setting(
        "",
        kind="name",
        shown="the largest that fits",
        example="r1-14b",
        description="One model: of the catalog, by its name there or in Ollama's library; or any other, by its name "
        "for ollama pull with its tag, or as a GGUF file on this machine.",
    )
    models: Annotated[tuple[StrictStr, ...], Field(strict=False)] = _setting(
        (),
        kind="list of names",
        shown="[]",
        example="[qwen3:32b, qwen3:14b, r1-7b]",
        description="Several of them, from the one that is wanted most: the first that fits is taken.",
    )
    quantization: str = _setting(
        "",
        kind="name",
        shown="the best that fits",
        example="Q4_K_M",
        description="Four bits (Q4_K_M) where there is room for min_context, fewer where there is not, more where "
        "max_context still fits.",
    )
    min_context: Annotated[int, Field(ge=256, le=1 << 24)] = _setting(
        4096,
        kind="tokens",
        shown="4096",
        example="8192",
        description="With less a model is not taken, and a smaller one is.",
    )
    max_context: Annotated[int, Field(ge=256, le=1 << 24)] = _setting(
        16384,
        kind="tokens",
        shown="16384",
        example="65536",
        description="More than this is not asked for; the context is as long as memory allows up to it.",
    )
    kv_types: Annotated[tuple[Literal["f16", "q8_0", "q4_0"], ...], Field(min_length=1, strict=False)] = _setting(
        ("f16", "q8_0"),
        kind="list",
        shown="[f16, q8_0]",
        example="[f16, q8_0, q4_0]",
        description="Types of KV cache that may be used, from the one that is preferred. A server has one for all "
        "its models. With q4_0 R1 thinks shorter.",
    )
    reserve_mib: Annotated[int, Field(ge=0, le=1 << 20)] = _setting(
        RESERVE_MIB,
        kind="MiB",
        shown="1024",
        example="2048",
        description="Left free on each GPU. Below 1024 Ollama's engine takes layers off the GPU by itself.",
    )
    offload: bool = _setting(
        False,
        kind="true or false",
        shown="false",
        example="true",
        description="When nothing fits wholly, as many layers as fit go to the GPU, and the rest runs on the CPU.",
    )
    cpu: bool = _setting(
        False,
        kind="true or false",
        shown="false",
        example="true",
        description="A host without a GPU gets the smallest model instead of an error.",
    )
    attempts: Annotated[int, Field(ge=0, le=20)] = _setting(
        3,
        kind="number",
        shown="3",
        example="5",
        description="How often a smaller plan is tried where less of a model is on the GPU, once loaded, than planned.",
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.model and self.models:
            raise BadValue("has both model and models", "Write all of them under models")
        with _said_of_a_value():
            if not self.outside:
                self.wishes()
                return self
            for name in self.asked:
                if name not in self.outside:
                    catalog.find(name)
        if self.quantization:
            raise BadValue(
                f"{self.outside[0]} has the one quantization that its tag stands for",
                "Choose the tag that you want, and leave quantization out",
                ("quantization",),
            )
        if self.min_context > self.max_context:
            raise BadValue(
                f"min_context {self.min_context} is more than max_context {self.max_context}",
                "Raise max_context or lower min_context",
            )
        return self

    @property
    def asked(self) -> tuple[str, ...]:
        """The models that are asked for by name, the one first that is wanted most."""
        return (self.model,) if self.model else self.models

    @property
    def outside(self) -> tuple[str, ...]:
        """Those of them that the catalog lacks. Raises CorralError for what is no name."""
        return tuple(name for name in self.asked if catalog.lacks(name))

    def wishes(self, parallel: int = 1, batch: int = BATCH, others: Mapping[str, FileModel] | None = None) -> Wishes:
        """For the planner. others: the models that the catalog lacks, by name. Raises CorralError for names that
        nobody knows and wishes that exclude each other."""
        found = quantization(self.quantization).name if self.quantization else ""
        asked = Wishes(
            (), found, self.min_context, self.max_context, tuple(self.kv_types), self.reserve_mib, parallel, batch,
            self.offload, self.cpu, tuple((others or {})[name] for name in self.outside),
        )  # fmt: skip
        return wishes_for(self.family, self.asked, asked)


class ModelSpec(BaseModel):
    """A model that a host shall serve.

    name: what users call it, as in `ollama run NAME`.
    from_ (`from` in YAML): where it comes from: any name that Ollama takes (deepseek-r1:14b,
        hf.co/user/repository:Q4_K_M, modelscope.cn/user/repository) or a GGUF file on this machine.
    plan: instead of from: corral chooses for the host's GPUs, and sets num_ctx, num_batch and num_gpu.
    parameters: as in a Modelfile, with their types; `stop` is a list.
    template: the name of a file in templates/chat, or the text itself. None: what the model brings.
    system: the system prompt. None: what the model brings.
    modelfile: the Jinja template in templates/modelfiles that the Modelfile is rendered from.
    min_tokens_per_s: verification fails where it generates fewer tokens per second. None: it may be as slow as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: StrictStr
    from_: StrictStr = Field("", validation_alias=AliasChoices("from", "from_"), serialization_alias="from")
    plan: PlanSpec | None = None
    parameters: dict[str, Setting] = Field(default_factory=dict)
    template: StrictStr | None = None
    system: StrictStr | None = None
    modelfile: StrictStr = "model.j2"
    min_tokens_per_s: float | None = None

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        with _said_of_a_value():
            ModelName.parse(value)
        return value.strip()

    @field_validator("from_")
    @classmethod
    def _is_a_source(cls, value: str) -> str:
        with _said_of_a_value():
            if value:  # without one there is a plan
                classify_from(value)
        return value.strip()

    @field_validator("parameters", mode="before")
    @classmethod
    def _are_parameters(cls, value: object) -> dict[str, Setting]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise BadValue("must map parameters to values", "Write it like {num_ctx: 8192, temperature: 0.6}")
        return {str(name): _parameter(str(name), given) for name, given in value.items()}

    @field_validator("min_tokens_per_s", mode="before")
    @classmethod
    def _is_a_speed(cls, value: object) -> object:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")
        if value is not None and not number:
            raise BadValue(f"{_shown(value)} is not a speed", "Write tokens per second, a number above 0 such as 5")
        return value

    @field_validator("plan", mode="before")
    @classmethod
    def _is_a_mapping(cls, value: object) -> object:
        if value is not None and not isinstance(value, (Mapping, PlanSpec)):
            raise BadValue("must be a mapping", "Write it like {family: deepseek-r1, max_context: 16384}, or {}")
        return value

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.plan is None:
            if "from_" not in self.model_fields_set:
                raise BadValue(
                    "is missing", "Say what it is made from, or have a model chosen with plan: {}", ("from",)
                )
            return self
        if self.from_:
            raise BadValue("has both from and plan", "Keep from for a certain model, or plan to have one chosen")
        decided = [key for key in ("num_ctx", "num_gpu") if key in self.parameters]
        if decided:
            raise BadValue(
                f"{decided[0]} is what the plan decides",
                "Use min_context and max_context in plan" if decided[0] == "num_ctx" else "Leave it out",
                ("parameters",),
            )
        return self

    @model_validator(mode="after")
    def _is_not_itself(self) -> Self:
        if not self.from_:
            return self
        name, source = ModelName.parse(self.name), classify_from(self.from_)
        if name == source:
            raise BadValue(
                f"{self.name} is to be made from itself, so that every run would change it again",
                f"Give it a name of its own, such as {name.model}-served",
                ("name",),
            )
        return self


def _models_dir(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.isprintable():
        raise BadValue("holds a line break or a control character", "Write a plain path")
    if re.match(r"[A-Za-z]:|\\\\", value):
        return _windows_directory(value)
    if not value.startswith("/"):
        raise BadValue(
            f"{value} is not an absolute path",
            f"Write it from the root: {layout.MODELS}, on Windows from the drive: {layout_windows.MODELS}",
        )
    path = os.path.normpath(value)
    if ".." in value.split("/") or path.strip("/") == "":
        raise BadValue(f"{value} is no directory for models", f"Write a directory such as {layout.MODELS}")
    return "/" + path.lstrip("/")


def _windows_directory(value: str) -> str:
    """A path on a drive, with backslashes. learn.microsoft.com, "Naming Files, Paths, and Namespaces"."""
    if value.startswith("\\\\"):
        raise BadValue(
            f"{value} is on another machine, which a service that runs without a login can't reach",
            "Write a directory on a drive of the host",
        )
    path = PureWindowsPath(value)
    if not path.root:
        raise BadValue(f"{value} is not an absolute path", f"Write it from the drive: {layout_windows.MODELS}")
    bad = re.search(r'[<>:"|?*]', str(path)[2:])
    if bad or ".." in path.parts or len(path.parts) < 2 or any(part != part.rstrip(" .") for part in path.parts[1:]):
        raise BadValue(f"{value} is no directory for models", f"Write a directory such as {layout_windows.MODELS}")
    return path.drive.upper() + str(path)[2:]


class Settings(BaseModel):
    """All that can be set for a host, with defaults for what is not."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ollama_version: StrictStr = _setting(
        KNOWN_VERSION,
        kind="version",
        shown=KNOWN_VERSION,
        example="0.34.4",
        description="The release of Ollama to install; its SHA-256 must be pinned.",
    )
    ollama_release_url: StrictStr = _setting(
        RELEASES,
        kind="URL",
        shown=RELEASES,
        example="https://mirror.example.org/ollama/v{version}",
        description="The address that release archives and their sha256sum.txt lie under;"
        " {version} stands for the version.",
    )
    ollama_pins: Path | None = _setting(
        None,
        kind="path",
        shown="none",
        example="pins.yml",
        description="A YAML file with SHA-256 digests of more releases, relative to the inventory:"
        " version, then archive: digest.",
    )
    keep_versions: Annotated[int, Field(ge=1, le=100, strict=True)] = _setting(
        2,
        kind="number",
        shown="2",
        example="3",
        description="How many releases stay on the host, the one in use among them; older ones are removed.",
    )
    upgrade_batch: Annotated[int, Field(ge=1, le=1000, strict=True)] = _setting(
        1,
        kind="number",
        shown="1",
        example="5",
        description="How many hosts an upgrade or a rollback restarts and checks at a time.",
    )
    proxy: Secret | None = _setting(
        None,
        kind="URL or secret",
        shown="none",
        example="http://proxy.example.org:3128",
        description="The proxy through which hosts fetch releases and Ollama fetches models."
        " With a password in it: {env: NAME} or {file: path}.",
    )
    no_proxy: tuple[StrictStr, ...] = _setting(
        (),
        kind="list of hosts",
        shown="[]",
        example="[mirror.example.org, 10.0.0.0/8]",
        description="Hosts, domains and networks that are reached without the proxy.",
    )
    models_dir: Annotated[StrictStr, BeforeValidator(_models_dir)] = _setting(
        layout.MODELS,
        kind="absolute path",
        shown=layout.MODELS,
        example="/mnt/big disk/ollama models",
        description="The directory on the host that holds the models; on another disk if you like. On Windows"
        f" {layout_windows.MODELS} unless set.",
    )
    environment: dict[str, str] = _setting(
        {},
        kind="mapping",
        shown="{}",
        example="{OLLAMA_FLASH_ATTENTION: true, OLLAMA_KEEP_ALIVE: 24h}",
        description="Environment of Ollama's server: OLLAMA_* and the variables that choose GPUs."
        f" OLLAMA_HOST is {DEFAULT_HOST} unless set.",
    )
    allow_from: tuple[StrictStr, ...] = _setting(
        ("private",),
        kind="list of networks",
        shown="[private]",
        example="[192.168.1.0/24, fd00:1::/64]",
        description="Who may reach the port: networks, addresses, and the words private (the private"
        " ranges) or, alone, any (everybody).",
    )
    firewall: Literal["auto", "none"] = _setting(
        "auto",
        kind="auto or none",
        shown="auto",
        example="none",
        description="auto: open the port in the firewall that is active on the host. none: leave firewalls"
        " alone; you accept that whoever reaches the host reaches Ollama.",
    )
    gpus: tuple[StrictStr, ...] = _setting(
        (),
        kind="list of names",
        shown="[]",
        example="[NVIDIA GeForce RTX 4090]",
        description="The GPUs that the host must have; a missing one fails verification.",
    )
    require_gpu: bool | None = _setting(
        None,
        kind="true or false",
        shown="true where GPUs are declared or found",
        example="false",
        description="Whether a model that runs on the CPU, wholly or in part, fails verification.",
    )
    models: tuple[ModelSpec, ...] = _setting(
        (),
        kind="list of models",
        shown="[]",
        example="[{name: r1, from: 'deepseek-r1:14b', parameters: {num_ctx: 8192}}]",
        description="The models to serve: name, from or plan, and where wanted parameters, template, system, "
        "modelfile and min_tokens_per_s, below which verification fails.",
    )
    modelfile_variables: dict[str, Any] = _setting(
        {},
        kind="mapping",
        shown="{}",
        example="{language: German, cores: 8}",
        description="What your own templates of Modelfiles may mention, by name: texts, numbers, true or false, lists.",
    )
    sync_models: bool = _setting(
        False,
        kind="true or false",
        shown="false",
        example="true",
        description="Remove the models that corral has made here, or pulled as their base, and that nothing declares "
        "any more. What people have made or pulled stays.",
    )
    resident: Literal["one", "all"] = _setting(
        "one",
        kind="one or all",
        shown="one",
        example="all",
        description="How many of the models are in the GPUs' memory at a time: one, loaded in turns as they are asked "
        "for, or all, which are planned to fit beside each other.",
    )
    remove_models: bool = _setting(
        False,
        kind="true or false",
        shown="false",
        example="true",
        description="When Ollama is uninstalled, remove the directory of the models too, whoever made them.",
    )
    backup_dir: StrictStr = _setting(
        "backups",
        kind="path or HOST:path",
        shown="backups",
        example="nas:/srv/backups",
        description="Where backups are kept: a directory on this machine, relative to the inventory, or on a host or"
        " client of the inventory.",
    )
    backup_all: bool = _setting(
        False,
        kind="true or false",
        shown="false",
        example="true",
        description="Save models that registries have, too.",
    )
    service_account: Literal["SYSTEM", "LOCAL SERVICE"] = _setting(
        "SYSTEM",
        kind="SYSTEM or LOCAL SERVICE",
        shown="SYSTEM",
        example="LOCAL SERVICE",
        description="Windows: the account that the server runs as. LOCAL SERVICE has fewer rights; GPU drivers are"
        " known to work with SYSTEM.",
    )
    hostname: Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?$")] = _setting(
        "",
        kind="name",
        shown="none (it keeps its own)",
        example="gpu-box",
        description="Linux: the name that deploys/rebuild.py gives the host. One that its installer has left nameless"
        " (localhost, debian, ubuntu) gets the inventory's.",
    )
    nvidia_driver: Annotated[int, Field(ge=300, le=9999)] | None = _setting(
        None,
        kind="number",
        shown="none (the newest from 550 to 580)",
        example="570",
        description="Linux: the branch of NVIDIA's driver that deploys/rebuild.py installs and keeps, of those that the"
        " host's package sources have.",
    )
    take_over: bool = _setting(
        False,
        kind="true or false",
        shown="false",
        example="true",
        description="Windows: an Ollama that somebody has installed for a user is stopped and no longer started at"
        " login; its models stay where they are.",
    )
    remove_block_rules: bool = _setting(
        False,
        kind="true or false",
        shown="false",
        example="true",
        description="Windows: remove firewall rules that block ollama.exe or its port, as Windows makes them when"
        " somebody dismisses its question; otherwise they are an error.",
    )
    stand_ins: tuple[StrictStr, ...] = _setting(
        (),
        kind="list of names",
        shown="[]",
        example="[r1-7b]",
        description="Models of the catalog whose files may be of another size than the real ones.",
    )
    start_timeout_s: int = _setting(
        60,
        kind="seconds",
        shown="60",
        example="120",
        description="How long the server may take to answer after a start; on Windows"
        f" {WINDOWS_START_TIMEOUT_S} unless set.",
    )
    load_timeout_s: int = _setting(
        300,
        kind="seconds",
        shown="300",
        example="900",
        description="How long a model may take from the first request to its first token.",
    )
    verify_timeout_s: int = _setting(
        120,
        kind="seconds",
        shown="120",
        example="60",
        description="How long any other check of the finished host may take.",
    )

    @classmethod
    def from_data(cls, data: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Self:
        """The settings in a pyinfra host's data (`host.data.dict()`); other data is not looked at.

        Relative paths start from the inventory's directory where the data names it (corral_inventory), else
        from the current one. Raises CorralError with a line per problem: key, what is wrong, remedy.
        """
        declared = {key: data[key] for key in cls.model_fields if key in data}
        inventory = data.get(INVENTORY_KEY)
        directory = Path(inventory).parent if isinstance(inventory, str) else Path.cwd()
        return cls.parse(declared, Sources(directory, environ))

    def on(self, os_name: str) -> Self:
        """The settings as they hold on a host with this operating system. Raises CorralError for a value that can't."""
        directory = layout_windows.MODELS if os_name == "windows" else layout.MODELS
        if os_name == "windows" and "start_timeout_s" not in self.model_fields_set:
            # Its virus scanner reads each of the release's libraries first (discover/runner.go of 0.34.4).
            self = self.model_copy(update={"start_timeout_s": WINDOWS_START_TIMEOUT_S})
        if "models_dir" not in self.model_fields_set:
            return self.model_copy(update={"models_dir": directory})
        if (self.models_dir[1:2] == ":") != (os_name == "windows"):
            raise CorralError(
                f"models_dir: {self.models_dir} is no path on a host with {os_name}", f"Write it like {directory}"
            )
        return self

    @classmethod
    def parse(cls, declared: Mapping[str, Any], sources: Sources) -> Self:
        """As from_data, from nothing but settings; an unknown key is a problem too."""
        try:
            return cls.model_validate(dict(declared), context=sources)
        except ValidationError as error:
            raise CorralError("\n".join(problem.text() for problem in problems(error, cls))) from None

    @field_validator("ollama_version")
    @classmethod
    def _is_a_version(cls, value: str) -> str:
        with _said_of_a_value():
            return versions.release(value)

    @field_validator("ollama_release_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        unknown = re.search(r"[{}].*", value.replace("{version}", ""))
        if unknown:
            raise BadValue(f"{unknown[0]} stands for nothing", "Only {version} is filled in")
        if has_password(value) or "?" in value or "#" in value:
            raise BadValue("holds more than a place", "Write scheme, host and path only")
        return _http_address(value, secret=False)

    @field_validator("ollama_pins", mode="before")
    @classmethod
    def _is_beside_the_inventory(cls, value: object, info: ValidationInfo) -> object:
        return _sources(info).resolve(value) if isinstance(value, str) else value

    @field_validator("backup_dir")
    @classmethod
    def _is_a_place(cls, value: str) -> str:
        if not value.strip("/. ") or not value.isprintable():
            raise BadValue(f"{value} is no directory for backups", "Write a path, or HOST:/path")
        if re.match(r"[^/:]+:", value) and not re.fullmatch(r"[^/:]+:/.*[^/].*", value):
            raise BadValue(f"{value} is not HOST:/path", "Write the path on the host from its root")
        return value

    @field_validator("proxy", mode="before")
    @classmethod
    def _is_a_proxy(cls, value: object, info: ValidationInfo) -> object:
        sources = _sources(info)
        if isinstance(value, str) and not has_password(value):
            sources = Sources(sources.directory, sources.environ)
        return None if value is None else _http_address(read_secret(value, sources), secret=True)

    @field_validator("no_proxy", "allow_from", "gpus", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("no_proxy", "gpus")
    @classmethod
    def _are_words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for position, word in enumerate(value):
            if not word.strip() or not word.isprintable():
                raise BadValue("is empty or not one line of text", "Write one name per entry", (position,))
        return value

    @field_validator("environment", mode="before")
    @classmethod
    def _is_an_environment(cls, value: object) -> dict[str, str]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise BadValue("must map variables to values", "Write it like {OLLAMA_KEEP_ALIVE: 24h}")
        return normalise({str(name): given for name, given in value.items()})

    @field_validator("modelfile_variables", mode="before")
    @classmethod
    def _are_variables(cls, value: object) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise BadValue("must map names to values", "Write it like {language: German}")
        variables = {str(name): given for name, given in value.items() if given is not None}
        for name, given in variables.items():
            if name in TEMPLATE_NAMES:
                raise BadValue("has a meaning of its own in templates", "Choose another name", (name,))
            if not name.isidentifier():
                raise BadValue("is no variable's name", "Use letters, digits and _", (name,))
            items = given if isinstance(given, (list, tuple)) else [given]
            if not all(isinstance(item, (str, int, float)) for item in items):
                raise BadValue("is neither text, number, true or false, nor a list of these", "Write it flat", (name,))
        return variables

    @field_validator("allow_from")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            Scope.parse(value)
        except CorralError as error:
            problem = error.problem.removeprefix("allow_from").lstrip(": ")
            raise BadValue(problem, error.remedy) from None
        return value

    @field_validator("models")
    @classmethod
    def _have_names_of_their_own(cls, value: tuple[ModelSpec, ...]) -> tuple[ModelSpec, ...]:
        names: set[ModelName] = set()
        for position, model in enumerate(value):
            name = ModelName.parse(model.name)
            if name in names:
                raise BadValue(f"{model.name} is here twice", "Give each model its own name", (position, "name"))
            names.add(name)
        return value

    @model_validator(mode="after")
    def _can_be_resident(self) -> Self:
        if self.resident == "one":
            return self
        unplanned = next((spec.name for spec in self.models if spec.plan is None), None)
        if unplanned:
            raise BadValue(
                f"all models are to be in memory at once, and {unplanned} has no plan that says how much it takes",
                f"Write plan in place of from for {unplanned}, with the same name under model",
                ("resident",),
            )
        most = self.environment.get("OLLAMA_MAX_LOADED_MODELS", "")
        if most.isdigit() and 0 < int(most) < len(self.models):
            raise BadValue(
                f"OLLAMA_MAX_LOADED_MODELS is {most}, and {len(self.models)} models are to be in memory at once",
                "Leave the variable out",
                ("environment",),
            )
        return self

    @field_validator("start_timeout_s", "load_timeout_s", "verify_timeout_s", mode="before")
    @classmethod
    def _is_a_time(cls, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 86400:
            raise BadValue(f"{value} is not a number of seconds", "Write a whole number from 1 to 86400")
        return value

    @classmethod
    def reference(cls) -> tuple[Entry, ...]:
        """Every setting as README lists it."""
        return entries(cls)


def entries(model: type[BaseModel]) -> tuple[Entry, ...]:
    """The keys of a mapping as README lists them."""
    found = []
    for key, info in model.model_fields.items():
        extra = info.json_schema_extra
        assert isinstance(extra, dict)
        assert info.examples
        texts = (extra["kind"], extra["shown"], info.description, info.examples[0])
        found.append(Entry(key, *map(str, texts)))
    return tuple(found)


def problems(error: ValidationError, model: type[BaseModel]) -> tuple[Problem, ...]:
    """What pydantic found, as sentences for people. model: what was validated, for "did you mean"."""
    found = []
    for item in error.errors(include_url=False):
        path, kind = item["loc"], item["type"]
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, BadValue):
            found.append(Problem((*path, *cause.path), cause.problem, cause.remedy))
        elif kind == "extra_forbidden":
            inner = PlanSpec if "plan" in path else ModelSpec
            keys = _keys(model) if len(path) == 1 else _keys(inner)
            found.append(Problem(path, *unknown_key(str(path[-1]), keys)))
        elif kind == "missing":
            found.append(Problem(path, "is missing", "Add it"))
        else:
            found.append(Problem(path, *_type_problem(kind, item)))
    return tuple(found)


def unknown_key(key: str, known: Iterable[str]) -> tuple[str, str]:
    """What to say of a key that nothing knows: problem and remedy."""
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=1)
    return "unknown key", f"Perhaps you mean {close[0]}" if close else f"Known here: {', '.join(names)}"


def dotted(path: Iterable[str | int]) -> str:
    """A path as people write it: hosts.alpha.models[0].name."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _keys(model: type[BaseModel]) -> list[str]:
    return [info.serialization_alias or name for name, info in model.model_fields.items()]


_EXPECTED = {
    "string": ("text", "Put it in quotes"),
    "int": ("a whole number", "Write digits, without quotes"),
    "float": ("a number", "Write digits, without quotes"),
    "bool": ("true or false", "Write one of them"),
    "tuple": ("a list", "Write [one, another], or one entry per line behind a dash"),
    "model": ("a mapping", "Write keys and values"),
    "path": ("a path", "Write it as text"),
}


def _type_problem(kind: str, item: Any) -> tuple[str, str]:
    if kind == "literal_error":
        wanted = str(item["ctx"]["expected"]).replace("'", "")
        return f"{_shown(item['input'])} is not a value for this", f"Write {wanted}"
    expected, remedy = _EXPECTED.get(kind.partition("_")[0], ("", ""))
    if not expected:
        return item["msg"][:1].lower() + item["msg"][1:], ""
    return f"must be {expected}, not {_shown(item['input'])}", remedy


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "a list"
    return "a mapping" if isinstance(value, Mapping) else str(value)


def _sources(info: ValidationInfo) -> Sources:
    return info.context if isinstance(info.context, Sources) else Sources(Path.cwd(), os.environ)


def _http_address(value: str, *, secret: bool) -> str:
    shown = "the address" if secret else value
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not value.isprintable() or " " in value:
        raise BadValue(f"{shown} is not an http:// or https:// address", "Write it in full, with the scheme")
    return value


@contextmanager
def _said_of_a_value() -> Iterator[None]:
    """Let pydantic see what other modules say of a value, and where it was declared."""
    try:
        yield
    except CorralError as error:
        raise BadValue(error.problem, error.remedy) from None


def _parameter(name: str, value: object) -> Setting:
    try:
        checked = parameter(name, value)
    except CorralError as error:
        raise BadValue(error.problem, error.remedy, (name,)) from None
    if name in ("num_ctx", "num_batch") and isinstance(checked, int) and checked < 1:
        raise BadValue(f"{checked} is too small", "Write 1 or more", (name,))
    return checked
