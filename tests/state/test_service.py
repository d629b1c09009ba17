"""The release, the user, the service and its process."""

from __future__ import annotations

from typing import Any

from corral import layout
from corral.errors import CorralError
from corral.testing import Machine

REMEDY = "run deploys/r1.py"


def test_the_command_leads_to_the_pinned_release(host: Any, machine: Machine) -> None:
    assert host.run("command -v ollama").stdout.strip() == layout.COMMAND
    assert host.file(layout.COMMAND).linked_to == f"{machine.release}/bin/ollama"
    stamp = host.file(f"{machine.release}/{layout.STAMP}").content_string.strip()
    assert stamp == machine.run.release.stamp


def test_the_user_is_in_the_groups_that_reach_a_gpu(host: Any, machine: Machine) -> None:
    user = host.user(layout.USER)
    assert user.exists, f"there is no user {layout.USER}: {REMEDY}"
    there = {group for group in layout.GPU_GROUPS if host.group(group).exists}
    assert there <= set(user.groups)


def test_the_service_is_enabled_at_boot(host: Any, machine: Machine) -> None:
    assert host.service(layout.SERVICE).is_enabled


def test_the_service_is_running(host: Any, machine: Machine) -> None:
    assert host.service(layout.SERVICE).is_running


def test_the_unit_is_the_one_that_was_written(host: Any, machine: Machine) -> None:
    properties = host.service(layout.SERVICE).systemd_properties
    assert properties.get("FragmentPath") == layout.UNIT
    assert lines(host, layout.UNIT) == machine.unit.splitlines(keepends=True)


def test_the_drop_in_holds_the_declared_environment_and_nothing_else(host: Any, machine: Machine) -> None:
    assert lines(host, layout.DROP_IN) == machine.drop_in.splitlines(keepends=True)


def test_systemd_has_read_its_files_since_they_were_changed(host: Any, machine: Machine) -> None:
    assert host.service(layout.SERVICE).systemd_properties.get("NeedDaemonReload") == "no"


def test_the_process_runs_the_pinned_release(host: Any, machine: Machine) -> None:
    executable = host.file(f"/proc/{main_pid(host)}/exe").linked_to
    assert executable == f"{machine.release}/bin/ollama"


def test_the_process_runs_as_its_own_user(host: Any, machine: Machine) -> None:
    assert host.file(f"/proc/{main_pid(host)}").user == layout.USER


def test_the_process_has_the_declared_environment(host: Any, machine: Machine) -> None:
    declared = machine.environment
    # Only what is declared and public: nothing else may show in a report.
    names = "|".join(declared)
    found = host.run("tr '\\0' '\\n' < /proc/%s/environ | grep -E %s", main_pid(host), f"^({names})=").stdout
    assert dict(line.partition("=")[::2] for line in found.splitlines()) == declared


def test_the_process_has_the_declared_secret(host: Any, machine: Machine, secret: str) -> None:
    seen = host.check_output("tr '\\0' '\\n' < /proc/%s/environ | grep %s | sha256sum", main_pid(host), f"^{secret}=")
    assert seen.split()[0] == machine.secret_digest(secret), f"{secret} has another value, or none: {REMEDY}"


def test_secrets_are_for_root_alone(host: Any, machine: Machine) -> None:
    file, declared = host.file(layout.SECRETS), machine.secrets_file_digest
    if not declared:
        assert not file.exists, f"no secret is declared, and {layout.SECRETS} is there: {REMEDY}"
        return
    assert (file.user, file.mode) == ("root", 0o600)
    assert file.sha256sum == declared, f"{layout.SECRETS} holds other secrets than declared: {REMEDY}"


def lines(host: Any, path: str) -> list[str]:
    """A file's lines, which a failed assertion shows better than its text."""
    text: str = host.file(path).content_string
    return text.splitlines(keepends=True)


def main_pid(host: Any) -> str:
    """The process ID of the server. Raises CorralError where none runs."""
    pid = host.service(layout.SERVICE).systemd_properties.get("MainPID", "0")
    if pid == "0":
        raise CorralError(f"{layout.SERVICE} is not running", f"See systemctl status {layout.SERVICE} on the host")
    return str(pid)
