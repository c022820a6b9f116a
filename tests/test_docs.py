"""Documentation is generated where it can be, and what it shows runs."""

import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

import nc_gym
from nc_gym import docs_pages, readme_tables

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "THIRD_PARTY_NOTICES.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


def test_environment_pages_are_what_cards_and_docstrings_say():
    on_disk = {path.name: path.read_text() for path in (ROOT / "docs" / "envs").glob("*.md")}
    assert on_disk == docs_pages.pages(), "run `make docs`"


def test_every_registered_environment_has_a_page_and_a_row_in_the_readme():
    ids = {env_id for env_id in gym.registry if env_id.startswith("nc_gym/")}
    assert {docs_pages.file_name(env_id) for env_id in ids} == set(docs_pages.pages())
    for env_id in ids:
        assert f"[`{env_id}`]" in (ROOT / "README.md").read_text()


def test_a_page_shows_the_card_and_every_argument():
    page = docs_pages.pages()["TerminalEcho-v0.md"]
    for text in (
        "`Print {word} on a line of its own`",
        "| `machine` |",
        "| `num_envs` |",
        "| `cursor` |",
        "## Rewards",
    ):
        assert text in page


def test_readme_tables_are_what_the_files_say():
    text = (ROOT / "README.md").read_text()
    assert readme_tables.fill(text, ROOT) == text, "run `make docs`"


def test_a_readme_without_a_marker_is_refused():
    with pytest.raises(ValueError, match="markers"):
        readme_tables.fill("no tables", ROOT)


@pytest.mark.parametrize("page", [p for p in PAGES if python_blocks(p)], ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path):
    for block in python_blocks(page):
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_version_is_the_same_everywhere():
    version = nc_gym.__version__
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
