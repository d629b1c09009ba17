"""How a machine is reached: the connection keys of an inventory, checked, and as pyinfra names them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from corral.secret import BadValue, Secret, Sources, read_secret

#: pyinfra's host data.
Data = dict[str, Any]


class Connection(BaseModel):
    """How to reach a machine: pyinfra's ssh_* host data, and sudo. None: left to pyinfra and ssh."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    address: StrictStr | None = None
    os: StrictStr = "linux"
    ssh_port: int | None = Field(default=None, strict=True, ge=1, le=65535)
    ssh_user: StrictStr | None = None
    ssh_password: Secret | None = None
    ssh_key: Path | None = None
    ssh_key_password: Secret | None = None
    ssh_allow_agent: StrictBool | None = None
    ssh_look_for_keys: StrictBool | None = None
    ssh_forward_agent: StrictBool | None = None
    ssh_config_file: Path | None = None
    ssh_known_hosts_file: Path | None = None
    ssh_strict_host_key_checking: Literal["yes", "no", "off", "ask", "accept-new"] | None = None
    ssh_paramiko_connect_kwargs: dict[str, Any] | None = None
    ssh_connect_retries: int | None = Field(default=None, strict=True, ge=0)
    ssh_connect_retry_min_delay: float | None = Field(default=None, ge=0)
    ssh_connect_retry_max_delay: float | None = Field(default=None, ge=0)
    ssh_file_transfer_protocol: Literal["sftp", "scp"] | None = None
    sudo: StrictBool | None = None
    sudo_password: Secret | None = None

    @field_validator("address", "ssh_user")
    @classmethod
    def _is_one_word(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[^\s@/,]+", value):
            raise BadValue(f"{value!r} is not one word", "Write a name or an address, without user or port")
        return value

    @field_validator("os")
    @classmethod
    def _is_supported(cls, value: str) -> str:
        if value == "macos":
            raise BadValue(f"{value} is not supported yet", "Take the host out; there are linux and windows so far")
        if value not in ("linux", "windows"):
            raise BadValue(f"{value} is not an operating system that is known here", "Write linux or windows")
        return value

    @field_validator("ssh_password", "ssh_key_password", "sudo_password", mode="before")
    @classmethod
    def _is_a_secret(cls, value: object, info: ValidationInfo) -> str | None:
        return None if value is None else read_secret(value, _sources(info))

    @field_validator("ssh_key", "ssh_config_file", "ssh_known_hosts_file", mode="before")
    @classmethod
    def _starts_at_the_inventory(cls, value: object, info: ValidationInfo) -> object:
        return _sources(info).resolve(value) if isinstance(value, str) else value

    @field_validator("ssh_key")
    @classmethod
    def _is_a_private_key(cls, value: Path | None) -> Path | None:
        # pyinfra ends the run of every host at a key file that it can't read.
        if value is None:
            return value
        try:
            with value.open("rb") as file:
                start = file.read(11)
        except FileNotFoundError:
            raise BadValue(f"there is no file {value}", "Name your private key, or make one: ssh-keygen") from None
        except OSError as error:
            raise BadValue(f"{value} cannot be read: {error.strerror}", "Name a file that you can read") from None
        if start != b"-----BEGIN ":
            public = value.suffix == ".pub"
            raise BadValue(
                f"{value} is {'the public half of a key' if public else 'not a private key'}",
                f"Write {value.with_suffix('')}" if public else "Name the file that ssh-keygen made, without .pub",
            )
        return value

    @field_validator("ssh_config_file")
    @classmethod
    def _is_there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise BadValue(f"there is no file {value}", "Correct the path, or leave it out for ~/.ssh/config")
        return value

    @field_validator("ssh_strict_host_key_checking", mode="before")
    @classmethod
    def _means_a_word(cls, value: object) -> object:
        # YAML makes booleans of yes, no and off.
        return ("yes" if value else "no") if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _password_is_for_something(self) -> Connection:
        if self.sudo_password is not None and self.sudo is None:
            raise BadValue("a password for sudo, but no sudo", "Add sudo: true", ("sudo_password",))
        return self

    def data(self) -> Data:
        """What is declared, as pyinfra names it. Secrets stay hidden (see secret.Secret)."""
        names = {"address": "ssh_hostname", "sudo": "_sudo", "sudo_password": "_sudo_password"}
        declared = self.model_dump(exclude={"os"}, exclude_none=True)
        return {
            names.get(key, key): str(value) if isinstance(value, Path) else value for key, value in declared.items()
        }


def _sources(info: ValidationInfo) -> Sources:
    assert isinstance(info.context, Sources)
    return info.context
