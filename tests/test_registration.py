"""Registration: import is light, ids come from the cards, specs survive JSON, children find the environments."""

from __future__ import annotations

import importlib
import multiprocessing
import re
import subprocess
import sys
import warnings
from pathlib import Path

import child
import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec

import nc_gym
from nc_gym.env import ComputerEnv
from nc_gym.paths import data_root
from nc_gym.registration import CardError, card_names, load_card, parse_card, register_envs, tomllib

ROOT = data_root()
GOOD = (ROOT / "envs" / "terminal.toml").read_text()


def card_ids() -> set[str]:
    return {id for name in card_names() for id in load_card(name).environments}


def test_importing_again_registers_nothing_twice() -> None:  # A1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(nc_gym)
        register_envs()
    assert card_ids() <= set(gym.registry)


def test_import_is_light() -> None:  # A2
    code = (
        "import gymnasium, time, sys; start = time.perf_counter(); import nc_gym;"
        "seconds = time.perf_counter() - start;"
        "heavy = {'torch', 'stable_baselines3', 'pygame', 'cv2', 'moviepy', 'pyte', 'imageio'} & set(sys.modules);"
        "print(sorted(heavy), seconds)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy, seconds = output.rsplit(maxsplit=1)
    assert heavy == "[]"
    assert float(seconds) < 0.5


def test_real_environment_needs_no_torch() -> None:
    code = (
        "import sys, gymnasium as gym; env = gym.make('nc_gym:nc_gym/Terminal-v0', machine='real');"
        "env.reset(seed=0); env.step(1); env.close(); print('torch' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "False"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_fresh_process_makes_an_environment_without_importing_us(method: str) -> None:  # A3
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(child.make_and_step, [0]) == [(208, 320, 3)]


def test_no_dead_plugin_table_and_examples_register() -> None:  # A4
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "gymnasium.envs" not in project.get("entry-points", {})
    for example in (ROOT / "examples").glob("*.py"):
        text = example.read_text()
        if "gym.make" in text:
            assert "gym.register_envs(nc_gym)" in text, example


def test_spec_round_trips_through_json(env_id: str) -> None:  # A5
    assert re.fullmatch(r"nc_gym/([A-Z][a-z]+)+-v\d+", env_id)
    spec = gym.spec(env_id)
    assert isinstance(spec.entry_point, str) and isinstance(spec.vector_entry_point, str)
    copy = EnvSpec.from_json(spec.to_json())
    assert copy == spec
    with gym.make(copy, machine="real") as env:
        env.reset(seed=0)
        again = EnvSpec.from_json(env.spec.to_json())
    with gym.make(again) as env:
        assert env.unwrapped.spec.kwargs["machine"] == "real"


def test_vector_spec_rebuilds_the_batch(env_id: str) -> None:  # A5
    envs = gym.make_vec(env_id, num_envs=2, machine="real", autoreset_mode="SameStep")
    twin = gym.make_vec(EnvSpec.from_json(envs.spec.to_json()))
    assert twin.num_envs == 2 and twin.autoreset_mode is envs.autoreset_mode
    envs.close()
    twin.close()


def test_spec_states_length_threshold_and_determinism(env_id: str) -> None:  # A6
    spec = gym.spec(env_id)
    assert spec.max_episode_steps > 0
    assert spec.nondeterministic is False
    task = load_card(spec.kwargs["card"]).environments[env_id].task
    assert (spec.reward_threshold is None) == (task.kind == "free")


def test_cards_registry_and_docstring_list_the_same_ids() -> None:  # A7
    registered = {id for id in gym.registry if id.startswith("nc_gym/")}
    documented = set(re.findall(r"``(nc_gym/[\w-]+)``", ComputerEnv.__doc__))
    assert registered == card_ids() == documented


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('kind = "line"', 'kind = "dance"', "unknown task kind 'dance'; choose one of free, line"),
        ('kind = "line" ', 'knid = "line"', "TerminalEcho-v0: unknown task field 'knid'; a task has kind, boots"),
        ('line = "{word}"', 'line = "{wrd}"', "the parameter 'wrd', which has no table under parameters"),
        ('line = "{word}"\n', "", "kind 'line' needs the fields `line` and `command`"),
        ("boots = [0]", "boots = [1]", r"task boots are \[1\]; list indices from 0 to 0"),
        ("length = [2, 4]", "length = [4, 2]", r"parameter 'word' is .*\[4, 2\]"),
        ("length = [2, 4]", "length = [2, 40]", "instruction.* characters"),
        ("typing_share = 0.5", "typing_share = 1.5", "typing_share is 1.5"),
        ('boots = [""] ', "", "field 'boots' is missing"),
        ("reward_threshold", "reward_treshold", "unknown environment field 'reward_treshold'"),
        ('machine = "terminal"', "machine = terminal", "card.toml: Invalid value"),
    ],
)
def test_faulty_card_is_refused_with_its_fault(old: str, new: str, text: str, tmp_path: Path) -> None:
    assert old in GOOD
    path = tmp_path / "card.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(CardError, match=text):
        parse_card(path)


def test_new_task_needs_only_a_table(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(
        GOOD + '[[environments]]\nid = "nc_gym/TerminalHello-v0"\nsummary = "Hello."\nmax_episode_steps = 9\n'
        '[environments.task]\nkind = "line"\ninstruction = "Say hello"\nline = "hello"\ncommand = "echo hello"\n'
    )
    task = parse_card(path).environments["nc_gym/TerminalHello-v0"].task
    assert task.sample(3).command == "echo hello" and task.sample(3).boot == 0
