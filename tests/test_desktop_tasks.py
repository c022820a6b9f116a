"""Every task of the desktop on a real X server, what predicates see there, and input that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from nc_gym import desktop_audit
from nc_gym.agent_evaluate import OraclePlayer, RandomPlayer, play
from nc_gym.desktop_audit import confusion
from nc_gym.desktop_predicates import window_predicate_from_table
from nc_gym.desktop_reader import DesktopReader
from nc_gym.desktop_view import DesktopView
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import event
from nc_gym.machines.pointer import composite
from nc_gym.registration import load_card

LOADED = load_card("desktop")
CARD = LOADED.environments
TASKS = [id for id, card in CARD.items() if card.task.success]
OPEN, TYPE = "nc_gym/DesktopOpenProgram-v0", "nc_gym/DesktopTypeInTerminal-v0"
SEEDS, RANDOM_SEEDS = range(4), range(12)
ONE, ZERO = np.ones(1, np.bool_), np.zeros(1, np.int64)


def batch(env_id: str, rows: int, **options: Any) -> Any:
    return gym.make_vec(env_id, num_envs=rows, obs="chars", autoreset_mode="Disabled", machine="real", **options)


@pytest.fixture(scope="module")
def shared() -> Iterator[XDesktop]:
    with XDesktop() as machine:
        yield machine


@pytest.fixture
def machine(shared: XDesktop) -> XDesktop:
    shared.reset(ONE, ZERO, ZERO)
    return shared


def do(machine: XDesktop, *acts: tuple) -> None:
    for act in acts:
        machine.step(np.array([event(*act)]), ONE)


@pytest.mark.parametrize("actions", ["pointer", "words"])
@pytest.mark.parametrize("env_id", TASKS)
def test_oracle_solves_every_episode_on_the_real_desktop(env_id: str, actions: str) -> None:
    envs = batch(env_id, len(SEEDS), actions=actions, split="test")
    played = play(envs, OraclePlayer(), SEEDS)
    assert all(len(plan) <= CARD[env_id].max_episode_steps * 2 / 3 for plan in envs.oracle())
    envs.close()
    assert [e.seed for e in played if not (e.solved and e.audited)] == []
    assert [e.total for e in played] == pytest.approx([1.0] * len(SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("actions", ["pointer", "words"])
@pytest.mark.parametrize("env_id", TASKS)
def test_random_actions_solve_next_to_nothing(env_id: str, actions: str) -> None:
    envs = batch(env_id, len(RANDOM_SEEDS), actions=actions)
    played = play(envs, RandomPlayer(), RANDOM_SEEDS)
    envs.close()
    assert sum(e.solved for e in played) <= 1  # docs/tasks_desktop.json has the rates


@pytest.mark.parametrize("env_id", TASKS)
def test_setups_show_no_success_and_differ_between_the_splits(env_id: str) -> None:
    task = CARD[env_id].task
    assert all(len(task.starts(split, 1)) == task.setups for split in ("train", "test"))
    goals = {}
    for split in ("train", "test"):
        sampled = [task.sample(seed, split) for seed in range(300)]
        goals[split] = {(g.instruction, g.script, task.starts(split, 1)[g.start].events) for g in sampled}
    assert goals["train"].isdisjoint(goals["test"]) and len(goals["test"]) >= 40
    envs = batch(env_id, 2)
    envs.reset(seed=3)
    for _ in range(2):
        *_, infos = envs.step(envs.idle())
    envs.close()
    assert not infos["is_success"].any()


def test_success_must_hold_on_two_screens_and_opening_another_program_is_none() -> None:
    with gym.make(OPEN, machine="real", actions="pointer") as env:
        _, info = env.reset(seed=0)
        wanted = info["instruction"].removeprefix("Open ")
        place = LOADED.places[f"panel {wanted}"]
        _, reward, terminated, *_ = env.step(env.unwrapped.pointer(*place, "left click"))
        assert (reward, terminated) == (0.0, False)
        _, reward, terminated, _, info = env.step(env.unwrapped.idle())
        assert (reward, terminated, info["audit"]) == (1.0, True, True)
        env.reset(seed=0)
        for title in ("Term", "Calc", "Edit"):
            *_, info = env.step(env.unwrapped.pointer(*LOADED.places[f"panel {title}"], "left click"))
        assert not env.step(env.unwrapped.idle())[-1]["is_success"]


def test_the_audit_catches_a_terminal_that_only_looks_like_it() -> None:
    with gym.make(TYPE, machine="real", actions="pointer") as env:
        _, info = env.reset(seed=0)
        word, name = info["instruction"].replace(",", "").split()[1:4:2]
        env.step(env.unwrapped.pointer(*LOADED.places["task 1"], "left click"))
        for action in env.unwrapped.encode(f"cat() {{ echo {word}; }}\ncat {name}\n"):
            *_, info = env.step(action)
        *_, info = env.step(env.unwrapped.idle())
        assert info["is_success"] and not info["audit"]


def test_a_task_that_only_asks_what_a_window_says_has_no_audit() -> None:
    without = {id.removeprefix("nc_gym/Desktop") for id in CARD if not CARD[id].task.audited}
    assert without == {"-v0", "Calculate-v0"}


def test_a_pointer_on_titles_and_task_list_hides_no_window(machine: XDesktop) -> None:
    do(machine, (56, 228, "left click"), (80, 228, "left click"), (104, 228, "left click"))
    bare, arrow = machine.bare_screens(), machine.sprites[0]
    reader = DesktopReader(1, machine.screen_shape)
    reader.read(bare)
    tasks, bars = reader.view(0).tasks, reader.view(0).bars
    assert tasks == [("Term", False), ("Calc", False), ("Edit", True)]
    assert {(bar.title, bar.x, bar.y, bar.active) for bar in bars} == {
        ("Term", 8, 8, False),
        ("Edit", 48, 40, True),
    }  # fmt: skip  (Edit covers the title of Calc)
    for x, y in [(x, y) for x in range(0, 320, 4) for y in (11, 19, 39, 47, 55, 219, 223, 227, 231, 235)]:
        screen = bare.copy()
        composite(screen[0], arrow, x, y)
        reader.read(screen)
        assert reader.view(0).tasks == tasks and reader.view(0).bars == bars, (x, y)


def test_a_task_list_of_more_than_three_windows_says_nothing(machine: XDesktop) -> None:
    reader = DesktopReader(1, machine.screen_shape)
    for count in range(7):
        reader.read(machine.screens())
        tasks = reader.view(0).tasks
        assert tasks is None if count > 3 else len(tasks) == count
        do(machine, (56, 228, "left click"))


def test_predicates_agree_with_the_window_manager() -> None:
    kinds = confusion(sessions=4, events=25, seed=5)["kinds"]
    for kind in ("open", "closed", "at a place"):
        wrong = kinds[kind].get("holds, not seen", 0) + kinds[kind].get("does not hold, seen", 0)
        assert wrong <= 0.05 * sum(kinds[kind].values()), kind
    assert not any(counts.get("other") for counts in kinds.values())  # no text is read as another one


def test_an_action_of_a_desktop_by_pixel_and_names() -> None:
    with gym.make("nc_gym/Desktop-v0", machine="real") as env:
        env.reset(seed=0)
        assert env.unwrapped.pointer(80, 230, "left click").tolist() == [20, 57, 3, 0]
        assert env.unwrapped.pointer(0, 0).tolist() == [0, 0, 0, 0]
        env.step(env.unwrapped.pointer(80, 230, "left click"))
        typed = env.unwrapped.encode("7\n")
        assert [action[:3].tolist() for action in typed] == [[20, 57, 0]] * 2
        *_, info = env.step(typed[0])
        assert info["cursor"].tolist() == [57, 20]
        words = [bytes(row[c : c + 8 : 2]).decode() for row in info["chars"] for c in range(73)]
        assert {"Calc", "Menu"} <= set(words)
        for place, button, text in (
            ((320, 0), "none", r"pointer \(320, 0\) is outside the screen"),
            ((0, 0), "middle click", "unknown button event 'middle click'; choose one of none"),
        ):
            with pytest.raises(ValueError, match=text):
                env.unwrapped.pointer(*place, button)
        with pytest.raises(ValueError, match="no key types 'é'"):
            env.unwrapped.encode("é")


def test_presets_and_weights_of_another_computer_are_refused(tmp_path: Any) -> None:
    from tiny import save_tiny_computer

    with pytest.raises(ValueError, match="actions='keys' is unknown; choose one of None, 'pointer', 'words'"):
        gym.make(OPEN, machine="real", actions="keys")
    with pytest.raises(ValueError, match="have machine 'terminal' but the card says 'desktop'"):
        gym.make(OPEN, weights=str(save_tiny_computer(tmp_path / "terminal")))
    with pytest.raises(ValueError, match=r"no weights at .*nowhere.*nc-gym train"):
        gym.make(OPEN, weights=str(tmp_path / "nowhere"))
    with gym.make("nc_gym/Terminal-v0", machine="real") as env:
        env.reset(seed=0)
        with pytest.raises(ValueError, match="a terminal has no pointer"):
            env.unwrapped.pointer(0, 0)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"opn": ["Calc"]}, r"success has opn = \['Calc'\]; use the lists open, closed"),
        ({"window": "Calc"}, "asks for nothing"),
        ({"at": "the middle"}, "success has at, but no window that it is about"),
        ({"window": "Calc", "text": "7"}, r"no region = \[x, y, width, height\]"),
    ],
)
def test_faulty_predicates_of_windows_are_refused(table: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        window_predicate_from_table(table, LOADED.places)


@pytest.mark.parametrize(
    ("table", "text"),
    [({"open": ["Clock"]}, "names the window 'Clock'; the windows are Term"),
     ({"window": "Calc", "at": "nowhere"}, "names the place 'nowhere'; the places are")],
)  # fmt: skip
def test_unknown_windows_and_places_are_named(table: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        window_predicate_from_table(table, LOADED.places).fill({})


def test_a_region_below_the_screen_says_nothing() -> None:
    table = {"window": "Term", "region": [0, 24, 192, 64], "line": "x"}
    view = SimpleNamespace(bar=lambda title: SimpleNamespace(x=8, y=204), text=lambda *rectangle: [], tasks=None)
    assert not window_predicate_from_table(table, LOADED.places).fill({})._text_holds(view)
    chars = np.full((60, 80), 32, np.uint8)
    assert DesktopView(np.zeros((240, 320), np.uint8), chars).text(8, 204 + 16 + 24, 192, 64) == []


def test_predicates_are_measured_again_when_what_is_measured_has_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    played: list[int] = []

    def count(sessions: int, events: int, seed: int) -> dict[str, Any]:
        played.append(events)
        return {
            "sessions": 3 * sessions,
            "users": ["goal", "slow", "fast"],
            "events": events,
            "seed": seed,
            "kinds": {},
        }

    monkeypatch.setattr(desktop_audit, "confusion", count)
    for _ in range(2):
        desktop_audit.write(tmp_path)
    assert played == [desktop_audit.EVENTS]
    monkeypatch.setattr(desktop_audit, "EVENTS", 7)
    desktop_audit.write(tmp_path)
    assert played[1:] == [7]
