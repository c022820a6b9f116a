"""The numbers of a transfer study: from the scores of its jobs to what is reported per task and over all tasks.

*Gain* is success above random actions on the same machine; *retention* is the gain on the real machine over the gain on
the neural one, as a ratio of means over training seeds. Intervals are 95 % percentile bootstraps over training seeds;
a number from one seed has none, because resampling one seed only repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_gym.agent_env import EnvSetting
from nc_gym.agent_train import Point
from nc_gym.fidelity_scores import Number, bootstrap, mean_number
from nc_gym.transfer import (
    MACHINES,
    Job,
    Study,
    baselines,
    check_job,
    curve,
    judges,
    pick,
    scores_at,
    seeds_done,
)

MODES = {"argmax": True, "stochastic": False}
SOLVED = 0.9  # success on the real machine that counts as having learned the task
LEARNED = 0.1  # gain on the neural machine from which on a task counts as learned; ratios of less mean nothing
EXPLOIT = 0.1  # success on the neural machine above the real one that must be explained
RETENTION, CORRELATION, LEAST = 0.95, 0.9, 0.8  # aims: mean retention, rank correlation, retention of each task


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Returns the rank of each value from 1 up, float64 (N,); equal values share their mean rank."""
    array = np.asarray(values, np.float64)
    below = (array[:, None] > array[None]).sum(1)
    equal = (array[:, None] == array[None]).sum(1)
    return below + (equal + 1) / 2


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Returns the rank correlation, -1 to 1; None if either side is constant."""
    if len(set(left)) < 2 or len(set(right)) < 2:
        return None
    return float(np.corrcoef(ranks(left), ranks(right))[0, 1])


def retention(neural: NDArray[np.float64], real: NDArray[np.float64]) -> dict[str, float] | None:
    """Returns the mean gain on the real machine over that on the neural one, and its interval over seeds.

    Args:
        neural: gain of each training seed on the neural machine, float64 (seeds,).
        real: the same on the real machine.

    Returns:
        ``ratio``, and of several seeds ``low`` and ``high``; None if less than ``LEARNED`` was, in the neural machine.
        The interval is of the resamples in which that much was learned.
    """
    if neural.mean() < LEARNED:
        return None
    ratio = {"ratio": float(real.sum() / neural.sum())}
    if len(neural) < 2:
        return ratio
    low, high = bootstrap(real, neural, LEARNED)
    return ratio | {"low": float(low), "high": float(high)}


def seeds_number(values: NDArray[np.float64]) -> Number:
    """Returns the mean of one value per training seed, float64 (seeds,), and of several seeds its interval."""
    return mean_number(values) if len(values) > 1 else {"mean": float(values[0])}


def _first_solved(points: Sequence[Point], success: Sequence[float]) -> Point | None:
    return next((point for point, rate in zip(points, success, strict=True) if rate >= SOLVED), None)


def minutes_to_solve(points: Sequence[Point], success: Sequence[float]) -> float | None:
    """Returns the training minutes of the first checkpoint with at least ``SOLVED`` success; None if there is none."""
    point = _first_solved(points, success)
    return None if point is None else point.seconds / 60


def steps_to_solve(points: Sequence[Point], success: Sequence[float]) -> int | None:
    """Returns the environment steps of that checkpoint; None if there is none."""
    point = _first_solved(points, success)
    return None if point is None else point.steps


def median_minutes(values: Sequence[float | None]) -> float:
    """Returns the median over training seeds, where a seed that never got there took infinitely long."""
    return median(inf if value is None else value for value in values)


def at_clock(points: Sequence[Point], seconds: float) -> Point:
    """Returns the checkpoint whose training time is nearest to ``seconds``."""
    return min(points, key=lambda point: abs(point.seconds - seconds))


def at_steps(points: Sequence[Point], steps: int) -> Point:
    """Returns the first checkpoint with at least ``steps`` environment steps, or the last if it needed fewer."""
    return next((point for point in points if point.steps >= steps), points[-1])


def task_numbers(study: Study, setting: EnvSetting) -> dict[str, Any]:
    """Returns everything that is reported about one task of the study, of the jobs that are done."""
    base = baselines(study, setting)
    floor = {machine: pick(base, machine, None, "random")["success_rate"] for machine in MACHINES}
    seeds = {arm: seeds_done(study, setting, arm) for arm in study.arms}
    arms = {arm: [arm_numbers(study, Job(setting, arm, seed)) for seed in done] for arm, done in seeds.items() if done}
    result: dict[str, Any] = {"env": setting.env}
    for player in ("random", "oracle"):
        result[player] = {machine: _brief(pick(base, machine, None, player)) for machine in MACHINES}
    result["neural"] = {mode: _transfer(arms["neural"], mode, floor) for mode in MODES}
    if "real" in arms:
        for name in ("equal_steps", "equal_clock"):
            result[f"real_{name}"] = {mode: _real_success(arms["real"], name, mode) for mode in MODES}
    for name in ("minutes_to_solve", "steps_to_solve"):
        result[name] = {mode: {arm: [seed[name][mode] for seed in arms[arm]] for arm in arms} for mode in MODES}
    result["variants"] = {arm: {mode: _real_return(arms[arm], mode) for mode in MODES} for arm in arms if arm != "real"}
    result["rank_correlation"] = {mode: rank_correlation(arms["neural"], mode) for mode in MODES}
    result["seeds"] = arms
    return result


def arm_numbers(study: Study, job: Job) -> dict[str, Any]:
    """Returns the curve of one job, and its scores at the end and at the two marks that baselines are compared at."""
    check_job(study, job)
    points = curve(study, job)
    scores = [scores_at(study, job, point.steps) for point in points]
    real = {mode: [pick(score, "real", argmax)["success_rate"] for score in scores] for mode, argmax in MODES.items()}
    end = curve(study, Job(job.setting, "neural", job.seed))[-1]
    marks = {
        "final": points[-1], "equal_steps": at_steps(points, end.steps), "equal_clock": at_clock(points, end.seconds),
    }  # fmt: skip
    by_steps = {point.steps: score for point, score in zip(points, scores, strict=True)}
    machines = judges(job.arm)
    return {
        "seed": job.seed,
        "minutes_to_solve": {mode: minutes_to_solve(points, real[mode]) for mode in MODES},
        "steps_to_solve": {mode: steps_to_solve(points, real[mode]) for mode in MODES},
        "points": [{"steps": point.steps, "minutes": point.seconds / 60, "load": point.load, "threads": point.threads}
                   | _modes(by_steps[point.steps], machines) | {"failed": _failed(by_steps[point.steps], machines)}
                   for point in points],
        "marks": {name: {"steps": point.steps, "minutes": point.seconds / 60} | _modes(by_steps[point.steps], machines)
                  for name, point in marks.items()},
    }  # fmt: skip


def _failed(scores: list[dict[str, Any]], machines: Sequence[str]) -> dict[str, dict[str, list[int]]]:
    """Returns the seeds of the episodes that the policy did not solve, by mode and machine."""
    return {
        mode: {machine: list(pick(scores, machine, argmax)["failed_seeds"]) for machine in machines}
        for mode, argmax in MODES.items()
    }


def _brief(score: dict[str, Any]) -> dict[str, Any]:
    return {name: score[name] for name in ("success_rate", "mean_return", "audited_rate")}


def _modes(scores: list[dict[str, Any]], machines: Sequence[str]) -> dict[str, Any]:
    return {
        mode: {machine: _brief(pick(scores, machine, argmax)) for machine in machines} for mode, argmax in MODES.items()
    }


def paired_minutes(task: dict[str, Any], mode: str) -> dict[str, list[float | None]]:
    """Returns the minutes to solve a task, by arm, of the training seeds that both arms have."""
    arms = {arm: {seed["seed"]: seed["minutes_to_solve"][mode] for seed in task["seeds"][arm]} for arm in MACHINES}
    both = sorted(arms["neural"].keys() & arms["real"].keys())
    return {arm: [minutes[seed] for seed in both] for arm, minutes in arms.items()}


def _at_mark(seeds: list[dict[str, Any]], mark: str, mode: str, machine: str, name: str) -> NDArray[np.float64]:
    return np.array([seed["marks"][mark][mode][machine][name] for seed in seeds], np.float64)


def _transfer(seeds: list[dict[str, Any]], mode: str, floor: dict[str, float]) -> dict[str, Any]:
    success = {machine: _at_mark(seeds, "final", mode, machine, "success_rate") for machine in MACHINES}
    gains = {machine: success[machine] - floor[machine] for machine in success}
    audited = _at_mark(seeds, "final", mode, "real", "audited_rate")
    return {
        "neural_success": seeds_number(success["neural"]), "real_success": seeds_number(success["real"]),
        "real_audited": None if np.isnan(audited).any() else seeds_number(audited),  # of some tasks no file tells
        "gain": {machine: float(gain.mean()) for machine, gain in gains.items()},
        "retention": retention(gains["neural"], gains["real"]),
    }  # fmt: skip


def _real_success(seeds: list[dict[str, Any]], mark: str, mode: str) -> Number:
    return seeds_number(_at_mark(seeds, mark, mode, "real", "success_rate"))


def _real_return(seeds: list[dict[str, Any]], mode: str) -> Number:
    return seeds_number(_at_mark(seeds, "final", mode, "real", "mean_return"))


def rank_correlation(seeds: Sequence[dict[str, Any]], mode: str) -> dict[str, Any]:
    """Returns the rank correlation of the mean returns on the two machines over all checkpoints of all seeds.

    ``distinct`` counts the checkpoints that differ from each other in either return.
    """
    points = [point[mode] for seed in seeds for point in seed["points"]]
    pairs = [(point["neural"]["mean_return"], point["real"]["mean_return"]) for point in points]
    neural, real = zip(*pairs, strict=True)
    return {"checkpoints": len(pairs), "distinct": len(set(pairs)), "spearman": spearman(neural, real)}


def exploits(tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the checkpoints that do better in the neural machine than the real one confirms, in either mode.

    ``episode`` is the seed of an episode that only the neural machine counts as solved.
    """
    points = ((task, seed, point) for task in tasks for seed in task["seeds"]["neural"] for point in seed["points"])
    found = []
    for task, seed, point in points:
        for mode in MODES:
            neural, real = (point[mode][machine]["success_rate"] for machine in MACHINES)
            if neural - real > EXPLOIT:
                failed = point["failed"][mode]
                found.append({
                    "env": task["env"], "mode": mode, "seed": seed["seed"], "steps": point["steps"], "neural": neural,
                    "real": real, "episode": min(set(failed["real"]) - set(failed["neural"])),
                })  # fmt: skip
    return found


def summary(tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns, for each mode, what became of all tasks together.

    ``retention`` is that of each task, None if it was not learned; ``mean_retention`` the mean of the others, and
    ``capped_retention`` with 1 for what is more: failing in the neural machine makes up for nothing;
    ``pooled_retention`` the gains of all tasks on the real machine over those on the neural one, so that a task counts
    as much as was learned of it. The rank correlation is over all checkpoints of all tasks.
    """
    result: dict[str, Any] = {}
    for mode in MODES:
        kept = {task["env"]: task["neural"][mode]["retention"] for task in tasks}
        ratios = [one["ratio"] for one in kept.values() if one is not None]
        neural, real = (sum(task["neural"][mode]["gain"][machine] for task in tasks) for machine in MACHINES)
        result[mode] = {
            "mean_retention": float(np.mean(ratios)) if ratios else None,
            "capped_retention": float(np.mean(np.minimum(ratios, 1))) if ratios else None,
            "pooled_retention": real / neural if neural > 0 else None,
            "retention": {env: None if one is None else one["ratio"] for env, one in kept.items()},
            "tasks_learned": len(ratios), "tasks": len(tasks),
            "rank_correlation": rank_correlation([s for task in tasks for s in task["seeds"]["neural"]], mode),
        }  # fmt: skip
    return result
