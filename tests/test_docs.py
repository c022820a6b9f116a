"""Documentation is generated where it can be, and what it shows runs."""

import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import gymnasium as gym
import pytest

import nc_gym
from nc_gym import docs_pages, readme_tables, transfer_report
from nc_gym.actions import PRESETS
from nc_gym.registration import card_sha256, load_card

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


def test_tables_show_the_numbers_of_the_files_and_say_when_there_are_none(tmp_path):
    assert "Not measured yet" in readme_tables.fidelity(tmp_path) and "Not measured yet" in readme_tables.speed(
        tmp_path
    )
    assert readme_tables.agents(tmp_path) == "None shipped yet."
    share = {"share": 0.9876, "low": 0.9, "high": 0.999, "events": 1234}
    mean = {"mean": 0.8765, "low": 0.8, "high": 0.9}
    groups = {"kinds": {"key": share}, "families": {"ls": share}}
    result = {
        "sessions": 7, "steps": 60, "at_steps": {"50": {"characters": mean, "exact": mean, "cursor": mean}},
        "events": {"teacher_forced": groups, "closed_loop": {"kinds": {"key": share}, "families": {}}},
        "idle": {"noops": 1000, "sessions": 5, "cells_changed": 3}, "paper": {"characters": mean, "lines": mean},
        "weights": {"sha256": {"model.safetensors": "0123456789abcdef"}},
    }  # fmt: skip
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "fidelity_terminal.json").write_text(json.dumps(result))
    text = readme_tables.fidelity(tmp_path)
    assert "7 held-out sessions of 60 keys" in text and "| exact screens | 0.8765 (0.800–0.900) |" in text
    assert "| Enter: ls | 1,234 | 0.9876 (0.900–0.999) |  |" in text and "changed 3 cells" in text
    assert text.endswith("Measured in older weights 01234567, not those that ship now.")
    assert "Not measured yet" in readme_tables.transfer(tmp_path)
    assert "docs/transfer_desktop" in readme_tables.desktop_transfer(tmp_path)


def test_a_row_of_a_table_is_one_line_though_the_text_of_a_field_has_several():
    assert all(re.fullmatch(r"\|.*\|", line) for line in docs_pages.info_table().splitlines())


def test_a_readme_without_a_marker_is_refused():
    with pytest.raises(ValueError, match="markers"):
        readme_tables.fill("no tables", ROOT)


@pytest.mark.parametrize("page", [p for p in PAGES if python_blocks(p)], ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path):
    if page.parent.name == "envs" and page.name.startswith("Desktop") and not (ROOT / "weights" / "desktop").is_dir():
        pytest.skip("weights/desktop does not exist yet")
    script = "\n".join(python_blocks(page))  # a page is read from top to bottom
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120)
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


def test_a_task_whose_oracle_fails_in_the_neural_computer_is_named_a_bug() -> None:
    def score(player: str, machine: str, rate: float) -> dict[str, object]:
        return {"player": player, "machine": machine, "actions": "keys", "success_rate": rate}

    assert docs_pages.fidelity_bugs([score("oracle", "neural", 0.95), score("random", "neural", 0.0)]) == []
    (text,) = docs_pages.fidelity_bugs([score("oracle", "real", 1.0), score("oracle", "neural", 0.58)])
    assert "58% with `keys`" in text


@pytest.mark.parametrize(("name", "episodes"), [("terminal", 100), ("desktop", 40)])
def test_every_task_was_measured_and_is_neither_impossible_nor_solved_by_chance(name: str, episodes: int) -> None:
    result = json.loads((ROOT / "docs" / f"tasks_{name}.json").read_text())
    card = load_card(name)
    assert result["episodes"] >= episodes and result["weights_sha256"] == card.weights_sha256
    assert result["card_sha256"] == card_sha256(name)
    tasks = {id for id, environment in card.environments.items() if environment.task.success}
    assert {score["env"] for score in result["scores"]} == tasks
    played = {(score["env"], score["actions"], score["player"], score["machine"]) for score in result["scores"]}
    assert played == set(product(tasks, PRESETS[name], ("oracle", "random"), ("neural", "real")))
    for score in result["scores"]:
        if score["player"] == "random":
            assert score["success_rate"] < 0.05, score
        elif score["machine"] == "real":
            assert score["success_rate"] >= 0.99, score
    for task in tasks:
        assert (ROOT / "docs" / "envs" / f"{task.split('/')[1]}.gif").is_file()


@pytest.mark.parametrize("folder", ["docs", "docs/transfer_before", "docs/transfer_desktop"])
def test_the_page_of_a_study_says_what_its_json_does(folder: str) -> None:
    result = json.loads((ROOT / folder / "transfer.json").read_text())
    assert (ROOT / folder / "transfer.md").read_text() == transfer_report.page(result)


def test_at_least_eight_tasks_have_an_agent_with_results_and_a_replay() -> None:
    agents = [path.parent for path in (ROOT / "agents").glob("*/policy.zip")]
    assert len({json.loads((agent / "results.json").read_text())["env"] for agent in agents}) >= 8
    assert all((agent / "replay.mp4").stat().st_size > 0 for agent in agents)
