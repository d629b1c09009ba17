"""What README says of settings and commands is what they are."""

from __future__ import annotations

import re
from pathlib import Path

from corral.reference import settings_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_output_of_corral_settings() -> None:
    block = re.search(r"<!-- settings: [^>]*-->\n(.*?)<!-- end of settings -->", README, re.DOTALL)
    assert block
    assert block[1] == settings_table()


def test_every_deploy_and_make_target_that_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for deploy in set(re.findall(r"deploys/\w+\.py", README)):
        assert (ROOT / deploy).is_file(), deploy
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
