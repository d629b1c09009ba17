"""What README says of settings and commands is what they are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import jinja2
import pytest
import yaml
from click.testing import CliRunner

from corral.cli import main
from corral.modelfile import Message, Modelfile, render
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


def test_the_template_of_a_modelfile_makes_one_with_the_variables_beside_it() -> None:
    (template,) = re.findall(r"^```jinja\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (declared,) = re.findall(r"modelfile_variables: (\{language.*\})$", README, re.MULTILINE)
    own = {"own.j2": template, "model.j2": (ROOT / "templates/modelfiles/model.j2").read_text("utf-8")}
    wanted = Modelfile("deepseek-r1:14b", {"num_ctx": 2048}, system="You are a patient tutor.\n")
    rendered = render(
        wanted,
        name="tutor",
        host="big-box",
        loader=jinja2.DictLoader(own),
        template="own.j2",
        variables=yaml.safe_load(declared),
    )
    assert rendered.modelfile.parameters == {"num_ctx": 2048, "num_thread": 8}
    assert rendered.modelfile.messages[-1] == Message("assistant", "German")
    assert rendered.modelfile.licenses == ("For the classroom only.\nAsk before you copy.",)


def test_every_deploy_and_make_target_that_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for deploy in set(re.findall(r"deploys/\w+\.py", README)):
        assert (ROOT / deploy).is_file(), deploy
    for target in set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
