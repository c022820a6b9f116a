"""Every task of the terminal: on real bash the oracle solves it, random actions do not, and the files agree."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from nc_gym.actions import PRESETS as ALL_PRESETS
from nc_gym.agent_evaluate import OraclePlayer, RandomPlayer, play
from nc_gym.kinds import kind_of
from nc_gym.machines.terminal import BashTerminal
from nc_gym.registration import load_card

PRESETS = ALL_PRESETS["terminal"]
CARD = load_card("terminal").environments
TASKS = [id for id, card in CARD.items() if card.task.success]
SETUPS = [id for id in TASKS if CARD[id].task.setup]
READ_FLAG = "nc_gym/TerminalReadFlag-v0"
SEEDS = range(10)  # of each split
RANDOM_SEEDS = range(20)
RANDOM_STEPS = 20


def batch(env_id: str, rows: int, **options: Any) -> Any:
    return gym.make_vec(env_id, num_envs=rows, obs="chars", autoreset_mode="Disabled", **options)


@pytest.mark.parametrize("actions", PRESETS)
@pytest.mark.parametrize("env_id", TASKS)
def test_oracle_solves_every_episode_on_real_bash(env_id: str, actions: str) -> None:
    for split in ("train", "test"):
        envs = batch(env_id, len(SEEDS), machine="real", actions=actions, split=split)
        played = play(envs, OraclePlayer(), SEEDS)
        envs.close()
        assert [e.seed for e in played if not (e.solved and e.audited)] == []
        assert [e.total for e in played] == pytest.approx([1.0] * len(SEEDS))


@pytest.mark.parametrize("actions", PRESETS)
@pytest.mark.parametrize("env_id", TASKS)
def test_random_actions_solve_nothing_on_real_bash(env_id: str, actions: str) -> None:
    envs = batch(env_id, len(RANDOM_SEEDS), machine="real", actions=actions, max_episode_steps=RANDOM_STEPS)
    played = play(envs, RandomPlayer(), RANDOM_SEEDS)
    envs.close()
    assert np.mean([e.solved for e in played]) < 0.05
    assert np.mean([e.total for e in played]) < 0.1


@pytest.mark.parametrize("actions", PRESETS)
@pytest.mark.parametrize("env_id", TASKS)
def test_oracles_fit_in_the_horizon(env_id: str, actions: str) -> None:
    with gym.make(env_id, machine="real", actions=actions) as env:
        env.reset(seed=0)
        assert len(env.unwrapped.oracle()) <= CARD[env_id].max_episode_steps * 2 / 3


@pytest.mark.parametrize("env_id", TASKS)
def test_gymnasium_s_checker_is_silent_for_every_task(env_id: str, machine: str, neural: dict[str, Any]) -> None:
    with gym.make(env_id, **({"machine": "real"} if machine == "real" else neural)) as env, warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@pytest.mark.parametrize("env_id", SETUPS)
def test_setups_are_typed_on_both_machines_and_show_no_success(env_id: str, neural: dict[str, Any]) -> None:
    real, other = batch(env_id, 4, machine="real"), batch(env_id, 4, **neural)
    _, seen = real.reset(seed=3)
    other.reset(seed=3)
    assert [e.goal for e in real._engine.episodes] == [e.goal for e in other._engine.episodes]
    assert all(len(start.events) > 5 for start in CARD[env_id].task.starts("train", 1))
    assert not seen["is_success"].any()
    for _ in range(3):  # waiting solves nothing either
        real.step(np.zeros(4, np.int64))
    assert not real._engine.successes().any()
    real.close()
    other.close()


def test_the_audit_catches_a_screen_that_lies() -> None:
    with gym.make("nc_gym/TerminalMakeFile-v0", machine="real", actions="keys") as env:
        env.reset(seed=0)
        name = env.unwrapped._engine.episodes[0].goal.success[0].has[0]
        for action in env.unwrapped.encode(f"mkdir {name}\nls\n"):  # a folder is no file, but looks the same
            *_, info = env.step(action)
        *_, terminated, _, info = env.step(0)
        assert terminated and info["is_success"] and not info["audit"]


def test_a_condition_that_cannot_be_asked_confirms_nothing() -> None:
    with BashTerminal() as machine:
        machine.reset(np.ones(1, np.bool_), np.zeros(1, np.int64), np.zeros(1, np.int64))
        assert kind_of("terminal", {}).audit(machine, 0, (), "[ -d . ]")
        assert not kind_of("terminal", {}).audit(machine, 0, (), "exit 3")
        with pytest.raises(RuntimeError, match=r"sleep.* did not end within 0\.1 s"):
            machine._shells[0].run(["/usr/bin/sleep", "5"], timeout=0.1)
        machine.close()
        assert kind_of("terminal", {}).audit(machine, 0, (), "")  # nothing is asked


def test_tasks_without_a_condition_on_files_have_no_audit() -> None:
    without = {id.removeprefix("nc_gym/Terminal") for id in CARD if not CARD[id].task.audited}
    assert without == {"-v0", "Echo-v0", "Add-v0", "Recover-v0"}


def test_typing_the_sum_is_not_adding() -> None:
    with gym.make("nc_gym/TerminalAdd-v0", machine="real", actions="keys") as env:
        env.reset(seed=0)
        total = env.unwrapped._engine.episodes[0].goal.success[0].line
        for action in [*env.unwrapped.encode(f"echo {total}\n"), 0]:
            *_, info = env.step(action)
        assert not info["is_success"]


def test_a_word_seen_on_the_screen_can_be_typed_on_either_machine(options: dict[str, Any]) -> None:
    with gym.make(READ_FLAG, **(options | {"actions": "words"})) as env:
        _, info = env.reset(seed=0)
        names = env.unwrapped.keys
        for name in ("ls", "<Enter>", "cat "):
            *_, info = env.step(names.index(name))
        slot = names.index("screen:0")
        assert info["action_mask"].tolist() == env.unwrapped.action_masks().tolist()
        row = info["cursor"][0]
        above = [line for line in (bytes(r).decode().strip() for r in info["chars"][: max(row, 0)]) if line]
        events = env.unwrapped._engine.actions.events(slot, env.unwrapped._engine._seen(0), 0)
        if options["machine"] == "real":  # what a computer with random weights shows is anyone's guess
            assert above[-1] == "".join(chr(31 + event) for event in events)
        assert bool(info["action_mask"][slot]) == (events != [0])


def test_a_word_of_a_batch_types_as_many_keys_as_it_has() -> None:
    envs = batch("nc_gym/TerminalEcho-v0", 3, machine="real", actions="words")
    envs.reset(seed=0)
    index = envs.keys.index
    for names in (("echo ", "ls", "noop"), ("ls", "<Enter>", "pwd"), ("<Enter>", "noop", "<Enter>")):
        *_, infos = envs.step(np.array([index(name) for name in names]))
    screens = [[bytes(r).decode().rstrip() for r in chars[:3]] for chars in infos["chars"]]
    assert screens == [["~$ echo ls", "ls", "~$"], ["~$ ls", "~$", ""], ["~$ pwd", "/home/user", "~$"]]
    assert envs._engine.steps.tolist() == [3, 3, 3]
    envs.close()


def test_states_behind_setups_do_not_depend_on_who_asked_first(neural: dict[str, Any]) -> None:
    from nc_gym import opening

    screens = []
    for seeds in ([5, 6, 7], [7, 5, 6]):
        opening._shared_starts.cache_clear()
        envs = batch(READ_FLAG, 3, actions="keys", **neural)
        for seed in seeds:
            envs.reset(seed=[seed] * 3)
        observed, _ = envs.reset(seed=[5, 6, 7])
        screens.append(np.concatenate([observed, envs.step(np.array([40, 41, 42]))[0]]))
        envs.close()
    assert np.array_equal(*screens)
