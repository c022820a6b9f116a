"""Registration: import is light, ids come from the cards, specs survive JSON, children find the environments."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import child
import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec

import nc_gym
from nc_gym.env import ComputerEnv
from nc_gym.parameters import SPLITS
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
        "import gymnasium, sys; before = set(sys.modules); import nc_gym;"
        "heavy = {'torch', 'stable_baselines3', 'pygame', 'cv2', 'moviepy', 'pyte', 'imageio'} & set(sys.modules);"
        "print(sorted(heavy), len(set(sys.modules) - before))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy, modules = output.rsplit(maxsplit=1)
    assert heavy == "[]"
    assert int(modules) < 60  # its seconds depend on the machine; `nc-gym bench` times nothing this small


def test_import_draws_no_setups() -> None:  # half a second of the import, once
    code = (
        "import nc_gym; from nc_gym import registration, tasks; tasks.Task._setup_values = None;"
        "registration._CARDS.clear(); nc_gym.register_envs()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", card_names())
def test_shipped_cards_have_as_many_setups_as_they_say(name: str) -> None:
    for environment in load_card(name).environments.values():
        task = environment.task
        assert not task.setups or all(len(task.starts(split, 1)) == task.setups for split in SPLITS)


def test_register_card_counts_the_setups(tmp_path: Path) -> None:
    card = tmp_path / "few.toml"
    few = 'setup = "touch {name}\\n"\nsetups = 500\nparameters.name = { range = [10, 99] }\n'
    card.write_text(OWN.replace("own/TerminalHello", "few/Few") + few)
    with pytest.raises(CardError, match=r"few/Few-v0: the parameters give only \d+ setups .*lower it"):
        nc_gym.register_card(card)


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
    assert (spec.reward_threshold is None) == (not task.success)


def test_cards_registry_and_docstring_list_the_same_ids() -> None:  # A7
    registered = {id for id in gym.registry if id.startswith("nc_gym/")}
    documented = set(re.findall(r"``(nc_gym/[\w-]+)``", ComputerEnv.__doc__))
    assert registered == card_ids() == documented


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("oracle =", "orcale =", "TerminalEcho-v0: unknown task field 'orcale'; a task has instruction, success"),
        ('line = "{word}"', 'line = "{wrd}"', "the parameter 'wrd', which has no table under parameters"),
        ('success = [{ line = "{word}" }]', "", "the field 'success' is missing; a task has both success and oracle"),
        ('oracle = "echo {word}\\n"', "", "the field 'oracle' is missing; a task has both success and oracle"),
        ("line =", "lien =", "success has lien = '{word}'; use the texts after, line, prompt"),
        ('{word}\\n"', '{word}<Enter>"', "the oracle presses named keys; set typing_share = 0"),
        ("echo {word}", "echo é", "no key types 'é'"),
        ('"instruction:1"', '"instruction:9"', "oracle_words has 'instruction:9', which is neither"),
        ("typing_share", "boots = [1]\ntyping_share", r"task boots are \[1\]; list indices from 0 to 0"),
        ("typing_share", "setups = 4\ntyping_share", "setup and setups go together"),
        (
            "max_episode_steps = 40",
            'actions = "mouse"\nmax_episode_steps = 40',
            "actions is 'mouse'; choose one of keys",
        ),
        ("length = [2, 4]", "length = [4, 2]", r"parameter 'word' is .*\[4, 2\].*give it letters and length"),
        ('letters = "abcdefghijklmnopqrstuvwxyz"', 'letters = "a"', "TerminalEcho-v0: .*no values for split 'test'"),
        ("length = [2, 4]", "length = [2, 40]", "instruction.* characters"),
        ("typing_share = 0.5", "typing_share = 1.5", "typing_share is 1.5"),
        ("max_episode_steps = 40", "max_episode_steps = 0", "max_episode_steps is 0; expected a whole number from 1"),
        ("reward_threshold", "reward_treshold", "unknown environment field 'reward_treshold'"),
        ('machine = "terminal"', "machine = terminal", "card.toml: Invalid value"),
        ('machine = "terminal"', 'machine = "terminal"\nword = ["ls"]', "unknown field 'word'; a card has boots,"),
        ("reward_threshold = 0.95", 'reward_threshold = "high"', "reward_threshold is 'high'; expected a number"),
        ('boots = [""]', 'boots = "ab"', "boots is 'ab'; expected a list of texts"),
        ('id = "nc_gym/TerminalEcho-v0"', "id = 3", "id and summary are 3 and .*; expected two texts"),
        ('success = [{ line = "{word}" }]', 'success = { line = "{word}" }', "a value is of the wrong kind"),
        ("typing_share = 0.5", "typing_share = [1]", "a value is of the wrong kind .*; compare with envs"),
        ('instruction = "Print', 'instruction = "{} Print', "card.toml: "),
    ],
)
def test_faulty_card_is_refused_with_its_fault(old: str, new: str, text: str, tmp_path: Path) -> None:
    assert old in GOOD
    path = tmp_path / "card.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(CardError, match=text):
        parse_card(path)


def test_two_environments_of_one_id_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(GOOD + GOOD[GOOD.index("[[environments]]") :])
    with pytest.raises(CardError, match=r"card\.toml: two environments have the same id"):
        parse_card(path)


OWN = """machine = "terminal"
boots = [""]
[[environments]]
id = "own/TerminalHello-v0"
summary = "Say hello."
max_episode_steps = 30
[environments.task]
instruction = "Say hello"
success = [{ line = "hello" }]
oracle = "echo hello\\n"
"""


@pytest.fixture
def own_card(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    yield path
    gym.registry.pop("own/TerminalHello-v0", None)


def test_own_card_is_registered_and_played_on_both_machines(own_card: Path, options: dict[str, Any]) -> None:
    assert nc_gym.register_card(own_card) == nc_gym.register_card(str(own_card)) == ("own/TerminalHello-v0",)
    with gym.make("own/TerminalHello-v0", **options) as env:
        env.reset(seed=0)
        for action in env.unwrapped.oracle():
            *_, info = env.step(action)
        assert info["is_success"] or options["machine"] == "neural"
        spec = EnvSpec.from_json(env.spec.to_json())
    envs = gym.make_vec("own/TerminalHello-v0", num_envs=2, **options)
    envs.reset(seed=0)
    envs.close()
    gym.registry.pop("own/TerminalHello-v0")
    gym.make(spec).close()  # the spec alone is enough


def test_an_own_card_that_was_edited_is_registered_as_it_is_now(own_card: Path) -> None:
    nc_gym.register_card(own_card)
    edited = OWN.replace("Say hello", "Say it").replace("max_episode_steps = 30", "max_episode_steps = 31")
    own_card.write_text(edited.replace("own/TerminalHello-v0", "own/TerminalIt-v0"))
    assert nc_gym.register_card(own_card) == ("own/TerminalIt-v0",) and "own/TerminalHello-v0" not in gym.registry
    own_card.write_text(edited)
    nc_gym.register_card(own_card)
    with gym.make("own/TerminalHello-v0", machine="real") as env:
        assert env.reset(seed=0)[1]["instruction"] == "Say it" and env.spec.max_episode_steps == 31
    assert "own/TerminalIt-v0" not in gym.registry


def test_commands_know_the_environments_of_an_own_card(own_card: Path, tmp_path: Path) -> None:
    """In a process of its own, as people run them: the card is registered nowhere else."""
    command = [Path(sys.executable).with_name("nc-gym"), "--env-card", own_card, "record", "own/TerminalHello-v0"]
    command += ["--machine", "real", "--video", tmp_path / "a.mp4"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "a.mp4").stat().st_size > 0, done.stderr
    unknown = subprocess.run(list(map(str, [command[0], *command[3:]])), capture_output=True, text=True)
    assert unknown.returncode == 1 and "no environment 'own/TerminalHello-v0'" in unknown.stderr
    assert "nc-gym --env-card FILE" in unknown.stderr


def test_own_environment_travels_into_another_process(own_card: Path) -> None:
    nc_gym.register_card(own_card)
    with gym.make("own/TerminalHello-v0", machine="real") as env:
        data = pickle.dumps(env.unwrapped)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(child.unpickle_and_reset, [data]) == ["Say hello"]


def test_own_card_without_words_has_only_keys(own_card: Path) -> None:
    nc_gym.register_card(own_card)
    with pytest.raises(ValueError, match="actions='words' is unknown; choose one of None, 'keys'"):
        gym.make("own/TerminalHello-v0", machine="real", actions="words")


def test_own_card_cannot_take_an_id_and_must_exist(own_card: Path) -> None:
    own_card.write_text(OWN.replace("own/TerminalHello-v0", "nc_gym/TerminalEcho-v0"))
    with pytest.raises(CardError, match=r"own\.toml: the id 'nc_gym/TerminalEcho-v0' is already registered"):
        nc_gym.register_card(own_card)
    own_card.write_text(OWN)
    nc_gym.register_card(own_card)
    for id, words in (("nc_gym/TerminalEcho-v0", "already registered"), ("own hello", "(?i)malformed")):
        own_card.write_text(OWN.replace("own/TerminalHello-v0", id))
        with pytest.raises(CardError, match=words):
            nc_gym.register_card(own_card)
        assert "own/TerminalHello-v0" in gym.registry  # what was there stays
    with pytest.raises(CardError, match=r"no card at .*/other\.toml; pass the path of a TOML file"):
        nc_gym.register_card(own_card.with_name("other.toml"))
