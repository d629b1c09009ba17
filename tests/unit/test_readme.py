"""What README says of settings and commands is what they are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from corral.cli import main
from corral.reference import plan_table, settings_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "table"), [("settings", settings_table()), ("plan", plan_table())])
def test_the_tables_are_the_output_of_corral_settings(name: str, table: str) -> None:
    block = re.search(rf"<!-- {name}: [^>]*-->\n(.*?)<!-- end of {name} -->", README, re.DOTALL)
    assert block
    assert block[1] == table


def test_the_commands_for_planning_are_as_readme_has_them() -> None:
    lines = re.findall(r"^    corral (plan .*?)(?: +#.*)?$", README, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        done = CliRunner().invoke(main, shlex.split(line))
        assert done.exit_code == 0, done.output


def test_every_deploy_and_make_target_that_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for deploy in set(re.findall(r"deploys/\w+\.py", README)):
        assert (ROOT / deploy).is_file(), deploy
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
