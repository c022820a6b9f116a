"""The transfer study: its statistics against values worked out by hand, and the whole command on a tiny budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nc_gym import readme_tables
from nc_gym.agent_env import EnvSetting
from nc_gym.agent_file import load_agent
from nc_gym.agent_train import Point
from nc_gym.cli import app
from nc_gym.transfer import Study, arm_setting, jobs
from nc_gym.transfer_numbers import (
    at_clock,
    at_steps,
    exploits,
    minutes_to_solve,
    ranks,
    retention,
    spearman,
    steps_to_solve,
)

ECHO = "nc_gym/TerminalEcho-v0"
POINTS = [Point(100, 60.0, 0.0, 0.0), Point(200, 120.0, 0.0, 0.0), Point(300, 180.0, 0.0, 0.0)]


def test_ranks_share_the_mean_of_ties() -> None:
    assert ranks([10, 30, 20, 30]).tolist() == [1, 3.5, 2, 3.5]


@pytest.mark.parametrize(
    "left, right, expected",
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [5, 6, 7, 8, 7], 0.8207826816681233),  # the textbook example with one tie
        ([1, 2, 3], [1, 3, 2], 0.5),  # 1 - 6 * 2 / (3 * 8)
    ],
)
def test_rank_correlation(left: list[float], right: list[float], expected: float) -> None:
    assert spearman(left, right) == pytest.approx(expected)


def test_rank_correlation_of_a_constant_is_undefined() -> None:
    assert spearman([1, 1, 1], [1, 2, 3]) is None and spearman([1, 2], [0, 0]) is None


def test_retention_is_the_ratio_of_mean_gains() -> None:
    found = retention(np.array([0.8, 0.4]), np.array([0.6, 0.3]))
    assert found is not None
    assert found == pytest.approx({"ratio": 0.75, "low": 0.75, "high": 0.75})  # both seeds keep three quarters
    found = retention(np.array([1.0, 1.0]), np.array([1.0, 0.5]))
    # a resample of two seeds has the ratio 0.5, 0.75 or 1 with probability 1/4, 1/2, 1/4
    assert found == pytest.approx({"ratio": 0.75, "low": 0.5, "high": 1.0})


def test_retention_of_what_was_not_learned_is_undefined() -> None:
    assert retention(np.array([0.0, 0.0]), np.array([0.1, 0.0])) is None
    assert retention(np.array([-0.1, 0.05]), np.array([0.1, 0.0])) is None


def test_time_to_solve_is_that_of_the_first_good_checkpoint() -> None:
    assert minutes_to_solve(POINTS, [0.1, 0.9, 0.5]) == 2.0 and steps_to_solve(POINTS, [0.1, 0.9, 0.5]) == 200
    assert minutes_to_solve(POINTS, [0.1, 0.89, 0.5]) is None and steps_to_solve(POINTS, [0.1, 0.89, 0.5]) is None


def test_baselines_are_compared_at_equal_steps_and_at_equal_time() -> None:
    assert at_steps(POINTS, 200) is POINTS[1] and at_steps(POINTS, 101) is POINTS[1]
    assert (
        at_clock(POINTS, 1.0) is POINTS[0]
        and at_clock(POINTS, 149.0) is POINTS[1]
        and at_clock(POINTS, 999) is POINTS[2]
    )


def task_with(neural: float, real: float, failed_neural: list[int], failed_real: list[int]) -> dict[str, Any]:
    good = {"argmax": {"neural": {"success_rate": 1}, "real": {"success_rate": 1}}, "steps": 90}
    point = {
        "argmax": {"neural": {"success_rate": neural}, "real": {"success_rate": real}}, "steps": 80,
        "failed": {"neural": failed_neural, "real": failed_real},
    }  # fmt: skip
    return {"env": ECHO, "seeds": {"neural": [{"seed": 3, "points": [point, good]}]}}


def test_an_exploit_is_named_with_an_episode_that_only_the_neural_machine_counts() -> None:
    task = task_with(0.8, 0.4, [5], [5, 6, 7])
    assert exploits([task]) == [{"env": ECHO, "seed": 3, "steps": 80, "neural": 0.8, "real": 0.4, "episode": 6}]
    assert exploits([task_with(0.8, 0.71, [5], [5, 6])]) == []
    assert exploits([task_with(0.4, 0.8, [5, 6], [5])]) == []


def study(out: Path, **changes: Any) -> Study:
    settings = tuple(EnvSetting(env, "neural") for env in (ECHO, "nc_gym/Terminal-v0"))
    values: dict[str, Any] = {
        "settings": settings, "arms": ("neural", "real"), "seeds": 2, "algorithm": "ppo", "num_envs": 2,
        "hyperparameters": {}, "steps": 16, "every": 16, "episodes": 1, "test_seed": 0, "out": out,
    }  # fmt: skip
    return Study(**(values | changes))


def test_a_part_of_the_grid_holds_every_task_and_arm_with_the_first_seeds(tmp_path: Path) -> None:
    order = [(job.seed, job.task, job.arm) for job in jobs(study(tmp_path))]
    first = [(0, task, arm) for task in ("TerminalEcho-v0", "Terminal-v0") for arm in ("neural", "real")]
    assert order == first + [(1, task, arm) for _, task, arm in first]


def test_arms_change_only_where_a_policy_learns(tmp_path: Path) -> None:
    setting = EnvSetting(ECHO, "neural")
    assert arm_setting(setting, "real").machine == "real" and arm_setting(setting, "neural") == setting
    assert arm_setting(setting, "denoise_steps=4").denoise_steps == 4
    assert arm_setting(setting, "horizon=20").max_episode_steps == 20
    assert arm_setting(setting, "obs=latent").obs == "latent"
    for arm in ("obs=smell", "horizon", "horizon=0", "horizon=x", "banana=3"):
        with pytest.raises(ValueError, match=rf"arm '{arm}' is unknown; choose neural, real"):
            arm_setting(setting, arm)
    with pytest.raises(ValueError, match="begin with neural"):
        study(tmp_path, arms=("real", "neural"))


@pytest.mark.slow
def test_the_whole_study_runs_resumes_and_publishes(tmp_path: Path, tiny_weights: Path) -> None:
    """Two seeds, four arms, a few dozen steps, real bash; then again, after a job lost its end."""
    (tmp_path / "tiny.yml").write_text(
        "default: {n_envs: 2, n_timesteps: 32, n_steps: 8, batch_size: 16, n_epochs: 1, learning_rate: 0.001}\n"
    )
    out, docs = tmp_path / "out", tmp_path / "docs"
    arguments = [
        "agent", "transfer", "--tasks", ECHO, "--arms", "neural,real,horizon=5,obs=latent", "--seeds", "2",
        "--every", "16", "--episodes", "2", "--conf", tmp_path / "tiny.yml",
        "--weights", tiny_weights, "--out", out, "--docs", docs,
    ]  # fmt: skip

    def transfer(*changes: str) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments), *changes], catch_exceptions=False)

    assert transfer().exit_code == 0
    made = {path.name for path in docs.iterdir()} - {"exploits"}
    assert made == {"transfer.json", "transfer.md", "transfer_curves.png", "transfer_scatter.png"}
    result = json.loads((docs / "transfer.json").read_text())
    (task,) = result["tasks"]
    assert task["env"] == ECHO and task["oracle"]["real"] == {"success_rate": 1, "mean_return": 1, "audited_rate": 1}
    assert task["random"]["neural"]["success_rate"] < 1
    assert [seed["seed"] for seed in task["seeds"]["neural"]] == [0, 1]
    for arm in ("neural", "real", "horizon=5", "obs=latent"):
        for seed in task["seeds"][arm]:
            assert [point["steps"] for point in seed["points"]][:2] == [16, 32]
            assert seed["marks"]["equal_steps"]["steps"] == 32
    for neural, real in zip(task["seeds"]["neural"], task["seeds"]["real"], strict=True):
        assert real["points"][-1]["minutes"] >= neural["points"][-1]["minutes"]
    correlation = result["summary"]["argmax"]["rank_correlation"]
    assert correlation["checkpoints"] == 4 and task["rank_correlation"]["argmax"] == correlation
    page = (docs / "transfer.md").read_text()
    assert page.count(f"`{ECHO}`") >= 2 + 1 + 3 and "2 training seeds" in page
    assert ECHO in readme_tables.transfer(tmp_path)

    assert transfer("--agents", str(tmp_path / "agents")).exit_code == 0
    agent = tmp_path / "agents" / "terminal_echo_ppo"
    results = json.loads((agent / "results.json").read_text())
    assert (results["machine"], results["argmax"], results["episodes"]) == ("real", True, 2)
    assert {test["player"] for test in results["tests"]} == {"ppo", "random", "oracle"} and len(results["tests"]) == 8
    assert load_agent(agent).training is not None  # the hash is the shipped policy's
    assert (agent / "replay.mp4").stat().st_size > 0

    (lost,) = out.glob("*/neural/seed-1/scores/0000000032.json")
    lost.unlink()
    kept = {
        path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and "tensorboard" not in str(path)
    }
    assert transfer().exit_code == 0 and lost.exists()
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    again = json.loads((docs / "transfer.json").read_text())
    assert again["tasks"] == result["tasks"]
    with pytest.raises(ValueError, match="was made with 2 episodes from seed 12345, not 3"):
        transfer("--episodes", "3")
