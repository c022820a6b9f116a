"""The single environment: the contract on both machines, and what is special to each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from contract import WORDS, EnvContract, assert_same, roll, typing

from nc_gym.env import ComputerEnv
from nc_gym.machines.keys import KEYS

ECHO = "nc_gym/TerminalEcho-v0"
READ_FLAG = "nc_gym/TerminalReadFlag-v0"  # with a setup: the file and its flag


class TestEnvContract(EnvContract):
    pass


class TestWordsContract(EnvContract):
    """The same with words instead of keys, on a computer that a setup has prepared."""

    alphabet = WORDS

    @pytest.fixture
    def env_id(self) -> str:
        return READ_FLAG

    @pytest.fixture
    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"actions": "words"}


def test_both_machines_have_the_same_spaces(env_id: str, neural: dict[str, Any]) -> None:
    for obs in ("screen", "chars", "latent"):
        with (
            gym.make(env_id, obs=obs, **neural) as one,
            gym.make(env_id, obs=obs, **(neural | {"machine": "real"})) as two,
        ):
            assert one.observation_space == two.observation_space
            assert one.action_space == two.action_space


def test_both_machines_get_the_same_task_from_a_seed(neural: dict[str, Any]) -> None:
    with gym.make(ECHO, **neural) as one, gym.make(ECHO, machine="real") as two:
        for seed in range(5):
            assert one.reset(seed=seed)[1]["instruction"] == two.reset(seed=seed)[1]["instruction"]
            assert one.unwrapped.oracle() == two.unwrapped.oracle()


def test_screen_observation_is_banner_and_screen(options: dict[str, Any]) -> None:
    from nc_gym.reader import read_screens

    with gym.make(ECHO, **options) as env:
        obs, info = env.reset(seed=0)
        assert obs.shape == (208, 320, 3)
        banner, _ = read_screens(obs[None, :16])
        assert banner[0, 0].tobytes().decode().rstrip() == info["instruction"]
        chars, cursor = read_screens(obs[None, 16:])
        assert_same(chars[0], info["chars"])
        assert_same(cursor[0], info["cursor"])


def test_chars_observation_is_banner_screen_and_cursor(options: dict[str, Any]) -> None:
    with gym.make(ECHO, obs="chars", **options) as env:
        obs, info = env.reset(seed=0)
        assert obs[:40].tobytes().decode().rstrip() == info["instruction"]
        assert_same(obs[40:-2], info["chars"].ravel())
        assert_same(obs[-2:], np.where(info["cursor"] < 0, 255, info["cursor"]).astype(np.uint8))


def test_seeds_draw_different_words(options: dict[str, Any]) -> None:
    with gym.make(ECHO, **options) as env:
        assert len({env.reset(seed=seed)[1]["instruction"] for seed in range(20)}) > 15


def test_oracle_solves_every_echo_on_real_bash() -> None:
    with gym.make(ECHO, machine="real") as env:
        for seed in range(20):
            env.reset(seed=seed)
            total, terminated = 0.0, False
            for action in env.unwrapped.oracle():
                assert not terminated
                _, reward, terminated, _, info = env.step(action)
                total += reward
            assert terminated and info["is_success"] and total == pytest.approx(1)
            assert env.step(0)[1:3] == (0.0, True)  # documented: nothing more to earn


def test_random_keys_earn_next_to_nothing_on_real_bash() -> None:
    envs = gym.make_vec(ECHO, num_envs=8, machine="real", autoreset_mode="SameStep")
    envs.reset(seed=0)
    total, episodes = 0.0, 0
    for actions in np.random.default_rng(0).integers(len(KEYS), size=(100, 8)):
        _, rewards, terminated, truncated, _ = envs.step(actions)
        total, episodes = total + rewards.sum(), episodes + int((terminated | truncated).sum())
    envs.close()
    assert episodes >= 16 and total / episodes < 0.05


def test_free_use_has_no_reward_and_no_oracle(options: dict[str, Any]) -> None:
    with gym.make("nc_gym/Terminal-v0", **options) as env:
        _, info = env.reset(seed=0)
        assert info["instruction"] == "" and env.unwrapped.oracle() == []
        results = [env.step(action) for action in env.unwrapped.encode("echo hi\n")]
        assert {(r[1], r[2]) for r in results} == {(0.0, False)}


def test_real_terminal_shows_a_fresh_prompt_and_answers() -> None:
    with gym.make("nc_gym/Terminal-v0", machine="real", render_mode="ansi") as env:
        _, info = env.reset(seed=0)
        assert info["cursor"].tolist() == [0, 3]
        for action in env.unwrapped.encode("echo $((6*7))\n"):
            env.step(action)
        assert env.render().split("\n")[1:4] == ["~$ echo $((6*7))", "42", "~$"]


def test_shell_that_exits_is_restarted_which_truncates_the_episode() -> None:
    with gym.make("nc_gym/Terminal-v0", machine="real", render_mode="ansi") as env:
        env.reset(seed=0)
        *before, last = [env.step(action) for action in env.unwrapped.encode("echo lost\nexit\n")]
        assert not any(result[3] or result[4]["restarted"] for result in before)
        assert last[4]["restarted"] is True and last[1:4] == (0.0, False, True)
        assert env.render().split("\n")[1] == "~$"
        assert env.reset()[1]["restarted"] is False
        assert env.step(0)[3] is False


def test_episode_after_a_lost_shell_has_its_setup() -> None:
    with gym.make(READ_FLAG, machine="real", actions="keys") as env:
        env.reset(seed=0)
        *_, last = [env.step(action) for action in env.unwrapped.encode("exit\n")]
        assert last[4]["restarted"] and last[1:4] == (0.0, False, True) and not last[4]["is_success"]
        env.reset(seed=0)
        *_, last = [env.step(action) for action in env.unwrapped.oracle()]
        assert last[2:4] == (True, False) and last[4]["audit"] is True


HOME = """machine = "terminal"
boots = [""]
words = ["exit\\ncd\\n"]
[[environments]]
id = "own/TerminalHome-v0"
summary = "Go home."
max_episode_steps = 5
[environments.task]
instruction = "Go home from {dir}"
setup = "mkdir {dir}\\ncd {dir}\\n"
setups = 2
success = [{ prompt = "~" }]
oracle = "cd\\n"
[environments.task.parameters]
dir = { letters = "abcdefghijklmnopqrstuvwxyz", length = [2, 4] }
"""


def test_fresh_shell_after_a_lost_one_is_neither_typed_into_nor_judged(tmp_path: Path) -> None:
    (tmp_path / "home.toml").write_text(HOME)
    env = ComputerEnv(str(tmp_path / "home.toml"), "own/TerminalHome-v0", machine="real", actions="words")
    env.reset(seed=0)
    _, *result, info = env.step(1)  # `exit` loses the shell; the fresh one shows the prompt that success asks for
    assert result == [0.0, False, True] and info["restarted"] and not info["is_success"]
    assert bytes(info["chars"]).decode().split() == ["~$"]  # without the rest of the word
    env.close()


def test_keys_and_encode(options: dict[str, Any]) -> None:
    with gym.make(ECHO, **options) as env:
        assert env.unwrapped.keys == KEYS and env.action_space.n == len(KEYS)
        assert [KEYS[a] for a in env.unwrapped.encode("a b\n")] == ["a", " ", "b", "Enter"]
        with pytest.raises(ValueError, match="no key types 'é'"):
            env.unwrapped.encode("é")
        assert env.unwrapped.action_masks().shape == (len(KEYS),)


def test_real_machine_refuses_snapshots() -> None:
    with gym.make(ECHO, machine="real") as env:
        env.reset(seed=0)
        with pytest.raises(NotImplementedError, match=r'real computer cannot snapshot.*machine="neural"'):
            env.unwrapped.snapshot()


def test_restore_continues_exactly_from_the_snapshot(neural: dict[str, Any]) -> None:
    with gym.make(ECHO, **neural) as wrapped, gym.make(ECHO, **neural) as fresh:
        env = wrapped.unwrapped
        env.reset(seed=4)
        for action in typing(10):
            last = env.step(action)
        state = env.snapshot()
        first = [env.step(action) for action in typing(10, seed=1)]
        next_episode = env.reset()
        obs, info = env.restore(state)
        assert_same((obs, info), (last[0], last[4]))
        assert_same([env.step(action) for action in typing(10, seed=1)], first)
        assert_same(env.reset(), next_episode)  # the generator is part of the state
        roll(fresh, typing(3), seed=9)
        fresh.unwrapped.restore(state)  # also into another environment
        assert_same([fresh.unwrapped.step(action) for action in typing(10, seed=1)], first)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ({"machine": "quantum"}, "machine='quantum' is unknown; choose one of 'neural', 'real'"),
        ({"obs": "sound"}, "obs='sound' is unknown; choose one of 'screen', 'chars', 'latent'"),
        ({"render_mode": "human"}, "render_mode='human' is unknown; choose None, 'rgb_array' or 'ansi'"),
        ({"task": "nc_gym/TerminalDance-v0"}, "task='nc_gym/TerminalDance-v0' is unknown; choose one of 'nc_gym/Term"),
        ({"card": "phone"}, "no card 'phone'.*the cards are.*terminal"),
    ],
)
def test_unknown_argument_is_named_with_the_choices(argument: dict[str, str], text: str) -> None:
    arguments = {"card": "terminal", "task": ECHO, "machine": "real"} | argument
    with pytest.raises(ValueError, match=text):
        ComputerEnv(**arguments)


def test_render_without_a_mode_warns(options: dict[str, Any]) -> None:
    with gym.make(ECHO, disable_env_checker=True, **options) as env:
        env.reset(seed=0)
        with pytest.warns(UserWarning, match="render_mode="):
            assert env.unwrapped.render() is None


def test_networks_are_shared_and_the_global_torch_state_is_untouched(neural: dict[str, Any]) -> None:  # B9, B10
    import torch

    torch.manual_seed(0)
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    with gym.make(ECHO, **neural) as one, gym.make(ECHO, **neural) as two:
        computer = one.unwrapped._engine.machine.computer
        assert computer is two.unwrapped._engine.machine.computer
        roll(one, typing(5), seed=0)
        modules = [m for m in vars(computer).values() if isinstance(m, torch.nn.Module)]
        parameters = [
            p for module in [*modules, computer] if isinstance(module, torch.nn.Module) for p in module.parameters()
        ]
        assert parameters and not any(p.requires_grad for p in parameters)
    after = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def neural_env(weights: Path, **arguments: Any) -> gym.Env:
    return gym.make(ECHO, weights=str(weights), **({"device": "cpu"} | arguments))


def copy_weights(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target / "weights"))


def test_missing_weights_are_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no weights at .*nowhere.*nc-gym train"):
        neural_env(tmp_path / "nowhere")


def test_corrupt_weights_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    weights = copy_weights(tiny_weights, tmp_path)
    model = weights / "model.safetensors"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"model\.safetensors is corrupt"):
        neural_env(weights)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"machine": "desktop"}, "have machine 'desktop' but the card says 'terminal'"),
        ({"boots": ((1,),)}, r"have boots \[\(1,\)\] but the card says \[\(\)\]"),
        ({"keys": tuple(reversed(KEYS))}, r"have keys .* use weights that were trained with this card"),
    ],
)
def test_weights_of_another_computer_are_refused(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    from tiny import save_tiny_computer

    with pytest.raises(ValueError, match=text):
        neural_env(save_tiny_computer(tmp_path / "other", **changes))


def test_default_weights_must_be_the_pinned_ones(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # A8
    from nc_gym import opening
    from nc_gym.computer.weights import sha256

    (tmp_path / "weights").mkdir()
    copy_weights(tiny_weights, tmp_path / "weights").rename(tmp_path / "weights" / "terminal")
    model = tmp_path / "weights" / "terminal" / "model.safetensors"
    card = opening.load_card("terminal")
    monkeypatch.setattr(opening, "data_root", lambda: tmp_path)
    monkeypatch.setattr(opening, "load_card", lambda name: replace(card, weights_sha256=sha256(model)))
    gym.make(ECHO, device="cpu").close()
    monkeypatch.setattr(opening, "load_card", lambda name: replace(card, weights_sha256="0" * 64))
    with pytest.raises(ValueError, match=r"has sha256 .* but the card pins 000"):
        gym.make(ECHO, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"device": "abacus"}, "device='abacus'.*choose"), ({"dtype": "float99"}, "dtype='float99'.*'bfloat16'")],
)
def test_unknown_device_or_dtype_is_named(arguments: dict[str, str], text: str, tiny_weights: Path) -> None:
    with pytest.raises(ValueError, match=text):
        neural_env(tiny_weights, **arguments)


def test_options_reach_the_network(tiny_weights: Path) -> None:
    with neural_env(tiny_weights, dtype="bfloat16", denoise_steps=3) as env:
        computer = env.unwrapped._engine.machine.computer
        assert str(computer.dtype) == "torch.bfloat16" and computer.sampler.denoise_steps == 3
        roll(env, typing(3), seed=0)


def test_latent_observation_follows_the_screen(options: dict[str, Any], tiny_weights: Path) -> None:
    with gym.make(ECHO, obs="latent", **(options | {"weights": str(tiny_weights)})) as env:
        first, info = env.reset(seed=0)
        assert env.observation_space.contains(first) and first.shape == (40 + 480, 8)
        for action in typing(6):
            last, *_, after = env.step(action)
        changed = (info["chars"] != after["chars"]).ravel()
        assert changed.any()
        assert (first[40:][changed] != last[40:][changed]).any(1).all()
        assert_same(first[:40], last[:40])  # the banner
        other, _ = env.reset(seed=1)
        assert not np.array_equal(other[:40], first[:40])


@pytest.mark.parametrize("env_id", [READ_FLAG, "nc_gym/DesktopOpenProgram-v0"])
def test_a_neural_computer_needs_neither_bubblewrap_nor_an_x_server(
    env_id: str, tiny_weights: Path, tiny_desktop_weights: Path
) -> None:
    code = (
        "import sys; sys.modules['xcffib'] = None; import gymnasium as gym, nc_gym; gym.register_envs(nc_gym)\n"
        "with gym.make(sys.argv[1], weights=sys.argv[2], device='cpu', render_mode='rgb_array') as env:\n"
        "    env.reset(seed=0); env.step(env.unwrapped.oracle()[0]); print(env.render().shape)"
    )
    weights = tiny_desktop_weights if "Desktop" in env_id else tiny_weights
    done = subprocess.run(
        [sys.executable, "-c", code, env_id, str(weights)], env={**os.environ, "PATH": "/nowhere"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "3)" in done.stdout, done.stderr
