"""A conformance suite for environments of computers: what must hold on every machine.

Inherit from ``EnvContract`` or ``VectorEnvContract`` in a test module; the fixtures ``env_id`` (a registered id) and
``options`` (keyword arguments for ``gym.make``) say what is tested, the attributes of ``Actor`` which actions. Comments
such as B1 name items of the project's checklist of Gymnasium conventions.
"""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.passive_env_checker import data_shares_objects
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from nc_gym.env import ComputerInfo

STEPS = 60  # of an episode
# Random typing without Enter, Ctrl-C and Tab: those run whatever was typed, and real commands may show clocks or sizes.
KEYBOARD = np.array([*range(96), 97, 99, 100, 101, 102, 105])
WORDS = np.array([0, 2, 3, *range(5, 31)])  # all but Enter and Ctrl-C


def typing(steps: int, seed: int = 0, rows: int | None = None, alphabet: np.ndarray = KEYBOARD) -> np.ndarray:
    """Random actions, int64 (steps, ...) or (steps, rows, ...)."""
    shape = (steps,) if rows is None else (steps, rows)
    return np.random.default_rng(seed).choice(alphabet, size=shape)


def roll(env: gym.Env, actions: Any, seed: int) -> list[Any]:
    """Resets with ``seed``, plays ``actions`` and returns everything that came back."""
    return [env.reset(seed=seed), *(env.step(action) for action in actions)]


def assert_same(first: Any, second: Any) -> None:
    assert data_equivalence(first, second, exact=True)


def masked_sample(space: gym.Space, mask: np.ndarray) -> Any:
    """Samples an allowed action; the masks of the parts of a ``MultiDiscrete`` space stand one behind the other."""
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.sample(mask=tuple(np.split(mask, np.cumsum(space.nvec)[:-1])))
    return space.sample(mask=mask)


def equal_pixels(first: np.ndarray, second: np.ndarray) -> float:
    """The share of equal values of two observations (1 when all are)."""
    return float((first == second).mean())


class Actor:
    """Which actions are taken.

    Attributes:
        alphabet: harmless ones, of which random sequences are made.
        idle: does nothing.
        visible: changes the screen of a fresh computer.
        invalid: what a single environment must refuse.
        invalid_rows: what a batch of two must refuse.
        steps: of an episode.
        chars: rows and columns of ``info["chars"]``.
    """

    alphabet = KEYBOARD
    idle: Any = 0
    visible: Any = 20
    invalid: tuple[Any, ...] = (-1, 106, 1.5, "ls", np.array([1, 2]), None)
    invalid_rows: tuple[Any, ...] = ([0], [0, 106], [-1, 0], [0.5, 0.5], [[0, 0]])
    steps = STEPS
    chars = (12, 40)

    def typing(self, steps: int, seed: int = 0, rows: int | None = None) -> np.ndarray:
        return typing(steps, seed, rows, self.alphabet)

    def rows(self, action: Any, rows: int = 2) -> np.ndarray:
        """The same action in each row."""
        return np.array([action] * rows)


class EnvContract(Actor):
    """What one environment must do."""

    @pytest.fixture
    def env(self, env_id: str, options: dict[str, Any]) -> Iterator[gym.Env]:
        env = gym.make(env_id, **options)
        yield env
        env.close()

    @pytest.fixture
    def other(self, env_id: str, options: dict[str, Any]) -> Iterator[gym.Env]:
        env = gym.make(env_id, **options)
        yield env
        env.close()

    def test_gymnasium_checker_is_silent(self, env: gym.Env) -> None:  # B1, with the render check
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(env.unwrapped)

    def test_sb3_checker_is_silent(self, env: gym.Env) -> None:  # B1
        from stable_baselines3.common.env_checker import check_env as check_sb3

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_sb3(env, warn=True)

    def test_reset_seeds_the_generator_and_names_unknown_options(self, env: gym.Env) -> None:  # B2
        env.reset(seed=5)
        state = env.unwrapped.np_random.bit_generator.state
        env.reset(seed=5)
        assert env.unwrapped.np_random.bit_generator.state == state
        with pytest.raises(ValueError, match=r"colour.*takes no reset options"):
            env.reset(options={"colour": "green"})

    def test_same_seed_and_actions_give_the_same_rollout(self, env: gym.Env, other: gym.Env) -> None:  # B3
        actions = self.typing(self.steps)
        first, second = roll(env, actions, seed=7), roll(other, actions, seed=7)
        assert_same(first, second)
        assert_same(roll(env, actions, seed=7), second)  # also after an episode

    def test_seeds_draw_different_episodes(self, env: gym.Env) -> None:  # B3
        states, tasks = [], set()
        for seed in range(6):
            _, info = env.reset(seed=seed)
            success = env.unwrapped._engine.episodes[0].goal.success  # a flag that is hidden is in no instruction
            tasks.add((info["instruction"], str(success)))
            states.append(str(env.unwrapped.np_random.bit_generator.state))
        assert len(set(states)) == 6
        assert len(tasks) > 1 or not success  # free use has none

    def test_full_episode_stays_in_its_spaces_and_types(self, env_id: str, options: dict[str, Any]) -> None:  # B4
        with gym.make(env_id, max_episode_steps=self.steps, **options) as env:
            self._play_episode(env)

    def _play_episode(self, env: gym.Env) -> None:
        obs, _ = env.reset(seed=1)
        assert env.observation_space.contains(obs)
        total, steps, truncated = 0.0, 0, False
        for action in self.typing(env.spec.max_episode_steps, seed=1):
            obs, reward, terminated, truncated, _ = env.step(action)
            assert env.observation_space.contains(obs) and obs.dtype == env.observation_space.dtype
            assert type(reward) is float and type(terminated) is bool and type(truncated) is bool
            total, steps = total + reward, steps + 1
            assert 0 <= total <= 1
            if terminated or truncated:
                break
        assert terminated or (truncated and steps == env.spec.max_episode_steps)

    def test_returned_arrays_are_never_used_again(self, env: gym.Env) -> None:  # B5
        returned = [env.reset(seed=0), *(env.step(a)[::4] for a in self.typing(5)), env.reset(seed=1), env.reset()]
        kept = copy.deepcopy(returned)
        for i, first in enumerate(returned):
            for second in returned[i + 1 :]:
                assert not data_shares_objects(first, second)
        env.step(env.action_space.sample())
        assert_same(returned, kept)

    def test_info_has_the_same_documented_keys_always(self, env: gym.Env, options: dict[str, Any]) -> None:  # B6
        _, first = env.reset(seed=0)
        infos = [first, env.step(self.idle)[-1], env.reset()[1], env.step(self.visible)[-1]]
        extra = {"damage": float} if options["machine"] == "neural" else {"restarted": bool, "audit": bool}
        expected = {"chars", "cursor", "instruction", "is_success", "action_mask", *extra}
        assert expected <= set(ComputerInfo.__annotations__)
        for info in infos:
            assert set(info) == expected
            assert info["chars"].dtype == np.uint8 and info["chars"].shape == self.chars
            assert info["cursor"].dtype == np.int64 and info["cursor"].shape == (2,)
            assert type(info["instruction"]) is str and type(info["is_success"]) is bool
            assert info["action_mask"].dtype == np.int8
            assert env.action_space.contains(masked_sample(env.action_space, info["action_mask"]))
            assert all(type(info[key]) is kind for key, kind in extra.items())

    def test_invalid_action_is_refused_with_the_space(self, env: gym.Env) -> None:  # B7
        env.reset(seed=0)
        for action in self.invalid:
            with pytest.raises(ValueError, match=re.escape(str(env.action_space))):
                env.unwrapped.step(action)

    def test_step_and_render_before_reset_are_refused(self, env: gym.Env) -> None:  # B7
        for call in (lambda: env.unwrapped.step(self.idle), env.unwrapped.render, env.unwrapped.oracle):
            with pytest.raises(gym.error.ResetNeeded, match="reset"):
                call()

    def test_pickle_and_deepcopy_rebuild_the_environment_without_weights(self, env: gym.Env) -> None:  # B8
        data = pickle.dumps(env.unwrapped)
        assert len(data) < 2000
        for twin in (pickle.loads(data), copy.deepcopy(env.unwrapped)):
            try:
                assert_same(roll(twin, self.typing(5), seed=3), roll(env.unwrapped, self.typing(5), seed=3))
            finally:
                twin.close()

    def test_close_twice_and_use_as_context_manager(self, env_id: str, options: dict[str, Any]) -> None:  # B8
        with gym.make(env_id, **options) as env:
            env.reset(seed=0)
        env.close()

    def test_rgb_array_frames(self, env_id: str, options: dict[str, Any]) -> None:  # C1, C2, C3, C5
        with gym.make(env_id, render_mode="rgb_array", **options) as env:
            assert "rgb_array" in env.metadata["render_modes"] and env.metadata["render_fps"] > 0
            obs, _ = env.reset(seed=0)
            first = env.render()
            assert first.dtype == np.uint8 and first.ndim == 3 and first.shape[2] == 3
            assert first.shape[0] % 16 == 0 and first.shape[1] % 16 == 0
            assert first.shape != obs.shape  # what people see is not what the agent sees
            again = env.render()
            assert_same(first, again)  # looking changes nothing
            assert not np.shares_memory(first, again)
            for action in self.typing(10):
                env.step(action)
                assert env.render().shape == first.shape
            obs, *_ = env.step(self.idle)
            assert_same(env.render()[: 2 * len(obs) : 2, ::2], obs)

    def test_ansi_is_the_text_of_the_screen(self, env_id: str, options: dict[str, Any]) -> None:  # C1
        with gym.make(env_id, render_mode="ansi", **options) as env:
            _, info = env.reset(seed=0)
            lines = env.render().split("\n")
            assert lines[0] == info["instruction"]
            screen = [bytes(row).replace(b"\x7f", b"?").decode().rstrip() for row in info["chars"]]
            assert lines[1:] == screen


class VectorEnvContract(Actor):
    """What the batched environment must do. ``options`` as for ``EnvContract``."""

    def test_attributes_of_a_vector_environment(self, env_id: str, options: dict[str, Any]) -> None:  # D1, D2, D9
        envs = gym.make_vec(env_id, num_envs=3, **options)
        try:
            assert isinstance(envs, gym.vector.VectorEnv) and not isinstance(envs, SyncVectorEnv)
            assert envs.num_envs == 3 and envs.spec.id == env_id
            assert envs.observation_space == gym.vector.utils.batch_space(envs.single_observation_space, 3)
            assert envs.action_space == gym.vector.utils.batch_space(envs.single_action_space, 3)
            assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
            assert repr(envs) == f"ComputerVectorEnv({env_id}, num_envs=3)"
            with gym.make(env_id, **options) as env:
                assert env.observation_space == envs.single_observation_space
                assert env.action_space == envs.single_action_space
        finally:
            envs.close()
            envs.close()

    def test_outputs_have_their_spaces_and_types(self, env_id: str, options: dict[str, Any]) -> None:  # D3
        envs = gym.make_vec(env_id, num_envs=2, **options)
        obs, infos = envs.reset(seed=0)
        assert envs.observation_space.contains(obs)
        for actions in self.typing(5, rows=2):
            obs, rewards, terminated, truncated, infos = envs.step(actions)
            assert envs.observation_space.contains(obs)
            assert rewards.dtype == np.float64 and rewards.shape == (2,)
            assert terminated.dtype == truncated.dtype == np.bool_
            assert terminated.shape == truncated.shape == (2,)
            keys = [key for key in infos if not key.startswith("_")]
            assert all(infos[f"_{key}"].dtype == np.bool_ and infos[f"_{key}"].all() for key in keys)
        envs.close()

    @pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
    def test_equals_single_environments_in_a_row(
        self, env_id: str, options: dict[str, Any], mode: AutoresetMode
    ) -> None:
        # D4: three short episodes each, some of them solved by the oracle
        limit = 14
        envs = gym.make_vec(env_id, num_envs=3, max_episode_steps=limit, autoreset_mode=mode, **options)
        sync = SyncVectorEnv(
            [lambda: gym.make(env_id, max_episode_steps=limit, **options) for _ in range(3)], autoreset_mode=mode
        )
        (obs, infos), (sync_obs, sync_infos) = envs.reset(seed=11), sync.reset(seed=11)
        self._assert_alike(obs, sync_obs, infos, sync_infos, options)
        script = [*envs.oracle()[0], *[self.idle] * 3 * limit]
        for step, actions in enumerate(self.typing(3 * limit, seed=2, rows=3)):
            actions[0] = script[step]
            one, two = envs.step(actions), sync.step(actions)
            for mine, theirs in zip(one[1:4], two[1:4], strict=True):
                assert_same(mine, theirs)
            self._assert_alike(one[0], two[0], one[4], two[4], options)
        envs.close()
        sync.close()

    def _assert_alike(
        self, obs: np.ndarray, other_obs: np.ndarray, infos: dict, other_infos: dict, options: dict[str, Any]
    ) -> None:
        """Equal on a real machine. A neural batch rounds differently from a single row, so nearly equal there."""
        assert infos.keys() == other_infos.keys()
        if options["machine"] == "real":
            assert_same(obs, other_obs)
            assert_same(infos, other_infos)
            return
        assert equal_pixels(obs, other_obs) >= 0.999
        for key, value in infos.items():
            if key in ("instruction", "is_success") or key.startswith("_"):
                assert_same(value, other_infos[key])

    def _second_start(self, env_id: str, options: dict[str, Any]) -> dict[str, Any]:
        """Returns the infos of the second episodes that begin in two rows first reset with seed 0."""
        envs = gym.make_vec(env_id, num_envs=2, **options)
        envs.reset(seed=0)
        _, infos = envs.reset()
        envs.close()
        return infos

    def test_next_step_boots_a_finished_row_in_the_step_after(self, env_id: str, options: dict[str, Any]) -> None:  # D5
        envs = gym.make_vec(env_id, num_envs=2, max_episode_steps=6, **options)
        _, first = envs.reset(seed=0)
        for actions in self.typing(6, rows=2):
            *_, terminated, truncated, infos = envs.step(actions)
        assert truncated.all() and not terminated.any() and "final_obs" not in infos
        assert not np.array_equal(infos["chars"], first["chars"])
        _, rewards, terminated, truncated, infos = envs.step(self.rows(self.visible))
        assert not rewards.any() and not terminated.any() and not truncated.any()
        assert_same(infos["chars"], self._second_start(env_id, options)["chars"])  # the action was ignored
        ends = [envs.step(self.rows(self.idle))[3].tolist() for _ in range(6)]
        assert ends == [[False, False]] * 5 + [[True, True]]
        envs.close()

    def test_same_step_returns_the_last_screen_apart(self, env_id: str, options: dict[str, Any]) -> None:  # D5
        envs = gym.make_vec(env_id, num_envs=2, max_episode_steps=6, autoreset_mode="SameStep", **options)
        assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        sole = gym.make_vec(env_id, num_envs=2, max_episode_steps=7, **options)
        envs.reset(seed=0)
        sole.reset(seed=0)
        for actions in self.typing(6, rows=2):
            _, _, _, truncated, infos = envs.step(actions)
            last, _, _, _, last_infos = sole.step(actions)
        assert truncated.all() and infos["_final_obs"].all() and infos["_final_info"].all()
        assert infos["final_obs"].dtype == object
        assert_same(np.stack(infos["final_obs"]), last)
        assert_same(infos["final_info"], last_infos)
        assert_same(infos["chars"], self._second_start(env_id, options)["chars"])
        assert not np.array_equal(infos["chars"], last_infos["chars"])
        envs.close()
        sole.close()

    def test_disabled_waits_for_a_reset_mask(self, env_id: str, options: dict[str, Any]) -> None:  # D5, D6
        envs = gym.make_vec(env_id, num_envs=2, max_episode_steps=6, autoreset_mode=AutoresetMode.DISABLED, **options)
        envs.reset(seed=0)
        for actions in [*self.typing(5, rows=2), self.rows(self.visible)]:
            obs, _, _, truncated, last = envs.step(actions)
        assert truncated.all()
        with pytest.raises(gym.error.ResetNeeded, match="reset_mask"):
            envs.step(self.rows(self.idle))
        mask = np.array([True, False])
        after, infos = envs.reset(options={"reset_mask": mask})
        assert_same(after[1], obs[1])
        assert_same(infos["chars"][0], self._second_start(env_id, options)["chars"][0])
        assert not np.array_equal(infos["chars"][0], last["chars"][0])
        assert infos["_chars"].tolist() == [True, False] and not infos["chars"][1].any()
        with pytest.raises(gym.error.ResetNeeded, match=r"\[1\]"):
            envs.step(self.rows(self.idle))
        envs.reset(options={"reset_mask": ~mask})
        envs.step(self.rows(self.idle))
        envs.close()

    def test_bad_reset_arguments_are_named(self, env_id: str, options: dict[str, Any]) -> None:  # D5
        envs = gym.make_vec(env_id, num_envs=2, **options)
        with pytest.raises(gym.error.ResetNeeded, match="never booted"):
            envs.reset(options={"reset_mask": np.array([True, False])})
        for mask, error, text in (
            ([True, False], TypeError, "numpy array of dtype bool"),
            (np.array([1, 0]), TypeError, "int64.*dtype bool"),
            (np.array([True]), ValueError, r"shape \(1,\).*\(2,\)"),
            (np.array([False, False]), ValueError, "False everywhere"),
        ):
            with pytest.raises(error, match=text):
                envs.reset(options={"reset_mask": mask})
        with pytest.raises(ValueError, match=r"colour.*reset_mask"):
            envs.reset(options={"colour": "green"})
        with pytest.raises(ValueError, match="3 seeds for 2 rows"):
            envs.reset(seed=[1, 2, 3])
        envs.close()

    def test_bad_actions_are_refused_with_the_space(self, env_id: str, options: dict[str, Any]) -> None:
        envs = gym.make_vec(env_id, num_envs=2, **options)
        with pytest.raises(gym.error.ResetNeeded, match="reset"):
            envs.step(self.rows(self.idle))
        envs.reset(seed=0)
        for actions in self.invalid_rows:
            with pytest.raises(ValueError, match=re.escape(str(envs.action_space))):
                envs.step(np.array(actions))
        envs.close()

    def test_row_i_of_seed_s_is_the_single_environment_of_seed_s_plus_i(
        self, env_id: str, options: dict[str, Any]
    ) -> None:  # D6
        envs = gym.make_vec(env_id, num_envs=3, **options)
        obs, infos = envs.reset(seed=20)
        listed, _ = envs.reset(seed=[22, 20, 21])
        with gym.make(env_id, **options) as env:
            for row in range(3):
                single, info = env.reset(seed=20 + row)
                assert info["instruction"] == infos["instruction"][row]
                assert equal_pixels(single, obs[row]) >= 0.999
        assert equal_pixels(listed, obs[[2, 0, 1]]) >= 0.999
        envs.close()

    def test_rows_do_not_depend_on_their_neighbours(self, env_id: str, options: dict[str, Any]) -> None:  # D7
        actions = self.typing(12, seed=3, rows=3)
        changed = actions.copy()
        changed[:, 1] = self.typing(12, seed=4)
        order = [2, 0, 1]
        plain = self._roll_rows(env_id, options, [30, 31, 32], actions)
        neighbour = self._roll_rows(env_id, options, [30, 99, 32], changed, reset_row=1)
        permuted = self._roll_rows(env_id, options, [32, 30, 31], actions[:, order])
        assert_same(neighbour[:, [0, 2]], plain[:, [0, 2]])
        assert_same(permuted, plain[:, order])

    def _roll_rows(
        self, env_id: str, options: dict[str, Any], seeds: list[int], actions: np.ndarray, reset_row: int | None = None
    ) -> np.ndarray:
        """Returns observations (steps, rows, ...); ``reset_row`` boots again in the middle."""
        envs = gym.make_vec(env_id, num_envs=len(seeds), max_episode_steps=None, autoreset_mode="Disabled", **options)
        envs.reset(seed=seeds)
        observations = []
        for step, row_actions in enumerate(actions):
            observations.append(envs.step(row_actions)[0])
            if reset_row is not None and step == len(actions) // 2:
                envs.reset(options={"reset_mask": np.arange(len(seeds)) == reset_row})
        envs.close()
        return np.stack(observations)

    @pytest.mark.parametrize("limit", [5, None, -1])
    def test_time_limit_is_counted_inside(self, env_id: str, options: dict[str, Any], limit: int | None) -> None:  # D8
        envs = gym.make_vec(env_id, num_envs=2, max_episode_steps=limit, **options)
        envs.reset(seed=0)
        ended = [bool(envs.step(self.rows(self.idle))[3].all()) for _ in range(45)]
        assert ended.index(True) == 4 if limit == 5 else not any(ended)
        envs.close()

    def test_the_spec_sets_the_time_limit(self, env_id: str, options: dict[str, Any]) -> None:  # D8
        envs = gym.make_vec(env_id, num_envs=1, **options)
        assert envs.max_episode_steps == gym.spec(env_id).max_episode_steps
        envs.close()

    @pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
    def test_render_returns_a_tuple_of_frames(self, env_id: str, options: dict[str, Any], mode: str) -> None:  # D9
        envs = gym.make_vec(env_id, num_envs=2, render_mode=mode, **options)
        envs.reset(seed=0)
        frames = envs.render()
        assert type(frames) is tuple and len(frames) == 2
        with gym.make(env_id, render_mode=mode, **options) as env:
            env.reset(seed=1)
            assert type(frames[1]) is type(env.render())
            if mode == "rgb_array":
                assert frames[1].shape == env.render().shape
        envs.close()

    def test_returned_arrays_are_never_used_again(self, env_id: str, options: dict[str, Any]) -> None:  # B5
        envs = gym.make_vec(env_id, num_envs=2, max_episode_steps=3, autoreset_mode="SameStep", **options)
        returned: list[Any] = [envs.reset(seed=0), *(envs.step(a) for a in self.typing(7, rows=2)), envs.reset()]
        kept = copy.deepcopy(returned)
        for i, first in enumerate(returned):
            for second in returned[i + 1 :]:
                assert not data_shares_objects(first, second)
        envs.step(self.rows(self.idle))
        assert_same(returned, kept)
        envs.close()
