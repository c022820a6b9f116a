"""The vector environment: the contract on both machines, wrappers and forks."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import gymnasium as gym
import imageio.v2 as imageio
import numpy as np
import psutil
import pytest
from contract import WORDS, VectorEnvContract, assert_same, typing
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector as wrappers

ECHO = "nc_gym/TerminalEcho-v0"
READ_FLAG = "nc_gym/TerminalReadFlag-v0"  # with a setup: the file and its flag


class TestVectorEnvContract(VectorEnvContract):
    pass


class TestWordsContract(VectorEnvContract):
    """The same with words instead of keys, on a computer that a setup has prepared."""

    alphabet = WORDS

    @pytest.fixture
    def env_id(self) -> str:
        return READ_FLAG

    @pytest.fixture
    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"actions": "words"}


def test_real_computers_that_one_learns_in_confirm_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("nc_gym.kinds.TerminalKind.audit")  # which takes a process each time
    envs = gym.make_vec("nc_gym/TerminalMakeDir-v0", num_envs=1, machine="real", actions="keys", audit=False)
    _, infos = envs.reset(seed=0)
    assert "audit" not in infos
    for key in envs.oracle()[0]:
        _, _, terminated, _, infos = envs.step(np.array([key]))
    assert terminated.all() and "audit" not in infos
    envs.close()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_row_whose_shell_is_lost_is_truncated_and_boots_with_its_setup(mode: AutoresetMode) -> None:
    envs = gym.make_vec(READ_FLAG, num_envs=2, machine="real", actions="keys", autoreset_mode=mode)
    envs.reset(seed=0)
    for key in envs.encode("exit\n"):
        _, rewards, terminated, truncated, infos = envs.step(np.array([key, 0]))
    last = infos["final_info"] if mode is AutoresetMode.SAME_STEP else infos
    assert truncated.tolist() == last["restarted"].tolist() == [True, False]
    assert not rewards.any() and not terminated.any()
    if mode is AutoresetMode.NEXT_STEP:
        *_, truncated, infos = envs.step(np.zeros(2, np.int64))
        assert not truncated.any()
    if mode is AutoresetMode.DISABLED:
        _, infos = envs.reset(options={"reset_mask": truncated})
    assert not infos["restarted"].any()
    for key in envs.oracle()[0]:
        _, _, terminated, truncated, infos = envs.step(np.array([key, 0]))
    last = infos["final_info"] if mode is AutoresetMode.SAME_STEP else infos
    assert terminated.tolist() == last["audit"].tolist() == [True, False] and not truncated.any()
    envs.close()


def test_sync_vectorization_gives_single_environments(options: dict[str, Any]) -> None:
    envs = gym.make_vec(ECHO, num_envs=2, vectorization_mode="sync", **options)
    assert isinstance(envs, gym.vector.SyncVectorEnv)
    envs.reset(seed=0)
    envs.step(np.zeros(2, np.int64))
    envs.close()


def test_oracle_of_every_row_solves_it_on_real_bash() -> None:
    envs = gym.make_vec(ECHO, num_envs=4, machine="real", autoreset_mode="SameStep")
    envs.reset(seed=0)
    scripts = envs.oracle()
    total, solved = np.zeros(4), np.zeros(4, bool)
    for step in range(max(map(len, scripts))):
        _, rewards, terminated, _, infos = envs.step(np.array([s[step] if step < len(s) else 0 for s in scripts]))
        total += np.where(solved, 0, rewards)
        solved |= terminated
        if terminated.any():
            assert (infos["final_info"]["is_success"] == terminated).all()
    envs.close()
    assert solved.all() and total == pytest.approx(1)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("wrapper", ["RecordEpisodeStatistics", "NormalizeReward", "DictInfoToList"])
def test_reward_and_info_wrappers_run_in_every_mode(wrapper: str, mode: AutoresetMode, options: dict[str, Any]) -> None:
    envs = gym.make_vec(ECHO, num_envs=2, max_episode_steps=3, autoreset_mode=mode, **options)
    wrapped = getattr(wrappers, wrapper)(envs)
    wrapped.reset(seed=0)
    ended = 0
    for actions in typing(7, rows=2):
        *_, truncated, infos = wrapped.step(actions)
        ended += int(truncated.sum())
        if truncated.all() and wrapper == "RecordEpisodeStatistics":
            assert (infos["episode"]["l"] == 3).all()
        if truncated.all() and mode is AutoresetMode.DISABLED:
            wrapped.reset(options={"reset_mask": np.ones(2, bool)})
    assert ended >= 2
    wrapped.close()


def test_observation_wrappers_run_with_next_step(options: dict[str, Any]) -> None:
    envs = gym.make_vec(ECHO, num_envs=2, max_episode_steps=3, **options)
    half = gym.spaces.Box(0, 255, (2, 104, 160, 3), np.uint8)
    single = gym.spaces.Box(0, 255, (104, 160, 3), np.uint8)
    for wrapped in (
        wrappers.TransformObservation(envs, lambda obs: obs[:, ::2, ::2].copy(), half, single),
        wrappers.NormalizeObservation(envs),
    ):
        obs, _ = wrapped.reset(seed=0)
        for actions in typing(5, rows=2):
            obs, *_ = wrapped.step(actions)
        assert obs.shape == wrapped.observation_space.shape
    envs.close()


def test_resize_observation_runs_with_next_step(options: dict[str, Any]) -> None:
    pytest.importorskip("cv2")
    envs = wrappers.ResizeObservation(gym.make_vec(ECHO, num_envs=2, **options), (52, 80))
    assert envs.reset(seed=0)[0].shape == (2, 52, 80, 3)
    envs.close()


MOVIEPY_LEAVES_PIPES = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@MOVIEPY_LEAVES_PIPES
def test_gymnasium_records_video_of_one_environment(neural: dict[str, Any], tmp_path: Any) -> None:
    pytest.importorskip("moviepy")
    env = gym.make(ECHO, max_episode_steps=3, render_mode="rgb_array", **neural)
    recorded = gym.wrappers.RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda _: True)
    recorded.reset(seed=0)
    for actions in typing(3, rows=1):
        recorded.step(actions[0])
    recorded.close()
    (video,) = (tmp_path / "videos").glob("*.mp4")
    assert len(imageio.mimread(video, memtest=False)) == 4  # the first screen, and one per step


@MOVIEPY_LEAVES_PIPES
@pytest.mark.filterwarnings("ignore:.*will not contain the last frame")  # SAME_STEP: RecordVector keeps it
@pytest.mark.parametrize("mode", AutoresetMode)
def test_gymnasium_records_video_of_the_batch(mode: AutoresetMode, neural: dict[str, Any], tmp_path: Any) -> None:
    pytest.importorskip("moviepy")
    envs = gym.make_vec(ECHO, num_envs=2, max_episode_steps=3, autoreset_mode=mode, render_mode="rgb_array", **neural)
    recorded = wrappers.RecordVideo(envs, str(tmp_path / "videos"), episode_trigger=lambda _: True)
    recorded.reset(seed=0)
    for actions in typing(3, rows=2):
        recorded.step(actions)
    recorded.close()
    assert list((tmp_path / "videos").glob("*.mp4"))


def test_pickle_and_deepcopy_rebuild_the_batch(options: dict[str, Any]) -> None:
    envs = gym.make_vec(ECHO, num_envs=2, **options)
    first, _ = envs.reset(seed=0)
    data = pickle.dumps(envs)
    assert len(data) < 2000
    for twin in (pickle.loads(data), copy.deepcopy(envs)):
        assert_same(twin.reset(seed=0)[0], first)
        twin.close()
    envs.close()


def test_unknown_autoreset_mode_and_row_count_are_named() -> None:
    with pytest.raises(ValueError, match=r"autoreset_mode='Never'.*'NextStep', 'SameStep', 'Disabled'"):
        gym.make_vec(ECHO, num_envs=2, machine="real", autoreset_mode="Never")
    with pytest.raises(ValueError, match="num_envs=0; choose at least 1"):
        gym.make_vec(ECHO, num_envs=0, machine="real")


def test_forked_rows_continue_like_the_row_they_come_from(neural: dict[str, Any]) -> None:
    envs = gym.make_vec(ECHO, num_envs=2, max_episode_steps=20, autoreset_mode="SameStep", **neural)
    envs.reset(seed=0)
    for actions in typing(6, rows=2):
        envs.step(actions)
    forks = envs.fork(1, 3)
    assert forks.num_envs == 3 and forks.action_space.shape == (3,)
    ahead = typing(10, seed=8)
    future = [envs.step(np.array([0, key])) for key in ahead]
    for key, (obs, rewards, _, truncated, infos) in zip(ahead, future, strict=True):
        forked = forks.step(np.full(3, key))
        for row in range(3):
            assert_same(forked[0][row], obs[1])
            assert forked[1][row] == rewards[1] and forked[3][row] == truncated[1]
            assert forked[4]["instruction"][row] == infos["instruction"][1]
    for _ in range(4):  # the counters were forked too: 6 + 10 + 4 steps
        *_, truncated, infos = forks.step(np.zeros(3, np.int64))
    assert truncated.all()
    assert len(set(infos["instruction"])) == 3  # later episodes differ
    envs.step(np.zeros(2, np.int64))
    forks.close()
    envs.step(np.zeros(2, np.int64))  # closing a fork leaves its origin alone
    envs.close()


def test_forks_part_when_their_keys_differ(neural: dict[str, Any]) -> None:
    envs = gym.make_vec(ECHO, num_envs=1, **neural)
    envs.reset(seed=0)
    forks = envs.fork(0, 2)
    same, *_ = forks.step(np.array([34, 34]))
    assert_same(same[0], same[1])
    for actions in (typing(8, seed=1), typing(8, seed=2)):
        assert len(actions) == 8
    for keys in zip(typing(8, seed=1), typing(8, seed=2), strict=True):
        obs, *_ = forks.step(np.array(keys))
    origin = envs.step(np.array([34]))[0]
    assert_same(origin[0], same[0])  # the origin did not move
    assert not np.array_equal(obs[0], obs[1])
    forks.close()
    envs.close()


def test_bad_forks_are_refused(neural: dict[str, Any]) -> None:
    real = gym.make_vec(ECHO, num_envs=1, machine="real")
    real.reset(seed=0)
    with pytest.raises(NotImplementedError, match=r'real computer cannot fork.*machine="neural"'):
        real.fork(0, 2)
    real.close()
    envs = gym.make_vec(ECHO, num_envs=2, **neural)
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        envs.fork(0, 2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="row=2; choose one from 0 to 1"):
        envs.fork(2, 2)
    with pytest.raises(ValueError, match="num_envs=0; choose at least 1"):
        envs.fork(0, 0)
    envs.close()


def test_torch_output_is_the_numpy_output_as_tensors(options: dict[str, Any]) -> None:  # D11
    import torch

    envs = gym.make_vec(ECHO, num_envs=2, output="torch", **options)
    plain = gym.make_vec(ECHO, num_envs=2, **options)
    obs, _ = envs.reset(seed=0)
    plain.reset(seed=0)
    assert isinstance(obs, torch.Tensor) and obs.device.type == "cpu"
    for actions in typing(4, rows=2):
        results, expected = envs.step(torch.from_numpy(actions)), plain.step(actions)
        for tensor, array in zip(results[:4], expected[:4], strict=True):
            assert isinstance(tensor, torch.Tensor)
            assert_same(tensor.numpy(), array)
    envs.close()
    plain.close()
    with pytest.raises(ValueError, match="output='jax' is unknown; choose one of 'numpy', 'torch'"):
        gym.make_vec(ECHO, num_envs=2, output="jax", **options)


def test_a_fork_is_a_whole_environment_of_its_own_size(neural: dict[str, Any]) -> None:
    envs = gym.make_vec(ECHO, num_envs=2, **neural)
    envs.reset(seed=0)
    envs.max_episode_steps = 7
    forks = envs.fork(1, 5)
    assert forks.max_episode_steps == 7 and forks.spec is envs.spec
    again = pickle.loads(pickle.dumps(forks))
    assert again.num_envs == 5 and again.action_space.shape == (5,)
    for env in (again, forks, envs):
        env.close()


def test_a_forgotten_batch_of_real_computers_ends_its_processes() -> None:
    gc.collect()
    mine = psutil.Process()
    before = set(mine.children())
    envs = gym.make_vec(ECHO, num_envs=2, machine="real")
    envs.reset(seed=0)
    its = set(mine.children()) - before
    assert [child.name() for child in its] == ["bwrap"] * 2
    del envs
    gc.collect()
    assert not its & set(mine.children())
