"""The release, the service and its process."""

from __future__ import annotations

from typing import Any

from corral import layout
from corral.testing import Machine

REMEDY = "run deploys/r1.py"


def test_the_command_leads_to_the_pinned_release(machine: Machine) -> None:
    assert machine.shows.release() == machine.release
    assert machine.shows.stamp(machine.release) == machine.run.release.stamp


def test_the_user_is_in_the_groups_that_reach_a_gpu(host: Any, machine: Machine, gpu_user: str) -> None:
    user = host.user(gpu_user)
    assert user.exists, f"there is no user {gpu_user}: {REMEDY}"
    there = {group for group in layout.GPU_GROUPS if host.group(group).exists}
    assert there <= set(user.groups)


def test_the_service_is_enabled_at_boot(machine: Machine) -> None:
    assert machine.shows.enabled_at_boot()


def test_the_service_is_running(machine: Machine) -> None:
    assert machine.shows.running()


def test_the_unit_is_the_one_that_was_written(machine: Machine, unit: str) -> None:
    assert machine.shows.definition(unit) == machine.definition(unit)


def test_the_drop_in_holds_the_declared_environment_and_nothing_else(machine: Machine, drop_in: str) -> None:
    assert machine.shows.definition(drop_in) == machine.definition(drop_in)


def test_systemd_has_read_its_files_since_they_were_changed(machine: Machine, reading: str) -> None:
    assert machine.shows.definition(reading) == machine.definition(reading)


def test_the_task_is_the_one_that_was_registered(machine: Machine, task: str) -> None:
    assert machine.shows.definition(task) == machine.definition(task)


def test_the_script_that_starts_the_server_is_the_one_that_was_written(machine: Machine, start_script: str) -> None:
    assert machine.shows.definition(start_script) == machine.definition(start_script)


def test_the_process_runs_the_pinned_release(machine: Machine) -> None:
    assert machine.shows.program() == machine.run.service.executable


def test_the_process_runs_as_its_own_user(machine: Machine) -> None:
    assert machine.shows.user() == machine.run.service.account


def test_the_process_has_the_declared_environment(machine: Machine) -> None:
    assert machine.shows.environment(machine.environment) == machine.environment


def test_the_process_has_the_declared_secret(machine: Machine, secret: str) -> None:
    seen = machine.shows.secret_digest(secret)
    assert seen == machine.secret_digest(secret), f"{secret} has another value, or none: {REMEDY}"


def test_secrets_are_for_administrators_alone(machine: Machine) -> None:
    digest, private = machine.shows.secrets()
    assert digest == machine.secrets_digest, f"the file with secrets holds others than declared: {REMEDY}"
    assert private, f"others may read the file with secrets: {REMEDY}"
