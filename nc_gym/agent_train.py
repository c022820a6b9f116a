"""``nc-gym agent train``: Stable-Baselines3 on the batched machine, in pieces that survive being killed.

After every piece the run folder gets ``checkpoints/<steps>.zip``, written whole: Stable-Baselines3's zip (policy,
optimizer, step count) and in it ``nc_gym.json`` (what is trained, the learning curve so far, training time). A run that
starts again goes on from the newest. Restored: all of that. Not restored: the computers' running episodes (new ones
begin, with seeds that follow from the step count) and the stream of random numbers; so a resumed run is as good as an
uninterrupted one, but not the same numbers. A piece that was cut off is trained again. Checkpoints hold pickles: resume
only run folders of your own.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecMonitor

import nc_gym
from nc_gym.agent_env import EnvSetting
from nc_gym.agent_evaluate import PolicyPlayer, evaluate, evaluate_all
from nc_gym.agent_file import (
    MEMO,
    PACKAGE_SHA256,
    POLICY,
    RESULTS,
    AgentError,
    Score,
    TrainedAgent,
    algorithm_class,
    load_agent,
    names_sha256,
    read_memo,
    sha256,
    write_results,
)
from nc_gym.agent_recipe import POLICIES
from nc_gym.sb3 import ComputerVecEnv

VALIDATION_SEED = 777_000_000  # of the episodes that show progress; the tests' seeds lie elsewhere
VALIDATION_EPISODES = 20
MASTERED = 0.95  # success, of drawn and of likeliest actions, from which on a study trains no further
_OPTIMIZER = "policy.optimizer.pth"  # in SB3's zip


@dataclass(frozen=True)
class Plan:
    """What is trained, and how; a run folder belongs to one plan.

    Attributes:
        setting: the computers to learn in.
        algorithm: "ppo", "maskable_ppo" or "recurrent_ppo".
        seed: of the initial weights, of exploration and of the episodes.
        num_envs: computers in the batch.
        hyperparameters: SB3's own, by name.
    """

    setting: EnvSetting
    algorithm: str
    seed: int
    num_envs: int
    hyperparameters: dict[str, Any]

    def describe(self) -> dict[str, Any]:
        """Returns the plan as JSON, with the network's hash in place of its folder."""
        weights = self.setting.weights_file
        setting = {name: value for name, value in asdict(self.setting).items() if name not in ("weights", "device")}
        return {
            "algorithm": self.algorithm, **setting, "actions": self.setting.preset,
            "actions_sha256": names_sha256(self.setting), "weights_sha256": sha256(weights) if weights else None,
            "seed": self.seed, "num_envs": self.num_envs, "hyperparameters": self.hyperparameters,
        }  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A checkpoint: environment steps and training seconds so far, and how the policy did meanwhile.

    ``solved`` and ``returns`` are means over the last hundred training episodes; the next two belong to argmax episodes
    on the training machine, or are None if none were played. ``load`` is how many processes of the host ran or waited
    for a processor, on average over a minute, and ``threads`` are torch's: seconds compare only where these do.
    """

    steps: int
    seconds: float
    solved: float
    returns: float
    validation_solved: float | None = None
    validation_returns: float | None = None
    load: float | None = None
    threads: int | None = None


def mastered(point: Point) -> bool:
    """Tells whether a policy solves its task where it learns, with drawn and with the likeliest actions."""
    return point.solved >= MASTERED and (point.validation_solved or 0.0) >= MASTERED


def train(
    plan: Plan, out: Path, steps: int, every: int, seconds: float = 0.0, validate: bool = True,
    until_mastered: bool = False,
) -> list[Point]:  # fmt: skip
    """Trains until both limits are reached, or until the task is mastered, and returns the learning curve.

    Args:
        plan: what to train.
        out: run folder; a run that it holds goes on.
        steps: environment steps of all computers together.
        every: steps from one checkpoint to the next (rounded up to whole rollouts).
        seconds: least training time, without evaluation, met in pieces of a quarter; 0 lets the steps decide.
        validate: play ``VALIDATION_EPISODES`` at every checkpoint.
        until_mastered: end at the first checkpoint that is ``mastered``, too; needs ``validate``.
    """

    def done(points: list[Point]) -> bool:
        last = points[-1]
        return (last.steps >= steps and last.seconds >= seconds) or (until_mastered and mastered(last))

    envs = VecMonitor(ComputerVecEnv(plan.setting.open(plan.num_envs, "SameStep", audit=False)))
    try:
        model, points = _resume(plan, out, envs)
        model.set_logger(configure(str(out / "tensorboard"), ["tensorboard"]))
        with _progress() as bar:
            task = bar.add_task("", total=steps, completed=model.num_timesteps)
            while not points or not done(points):
                missing = steps - model.num_timesteps
                start = time.perf_counter()
                piece = min(every, missing) if missing > 0 else -(-every // 4)  # a clock wants to be met closely
                model.learn(piece, _Show(bar, task), reset_num_timesteps=False)
                spent = time.perf_counter() - start + (points[-1].seconds if points else 0.0)
                points.append(_point(model, plan, spent, validate))
                _save(model, plan, points, out)
        return points
    finally:
        envs.close()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn()
    )


class _Show(BaseCallback):
    """Moves the progress bar."""

    def __init__(self, bar: Progress, task: Any) -> None:
        super().__init__()
        self._bar, self._task = bar, task

    def _on_step(self) -> bool:
        solved = _mean(self.model.ep_success_buffer)
        self._bar.update(self._task, completed=self.num_timesteps, description=f"solved {solved:4.0%}")
        return True


def _mean(values: Any) -> float:
    return float(np.mean(values)) if values else 0.0


def _new_model(plan: Plan, envs: VecMonitor) -> BaseAlgorithm:
    policy, policy_kwargs = POLICIES[plan.algorithm, plan.setting.obs]
    model: BaseAlgorithm = algorithm_class(plan.algorithm)(
        policy, envs, policy_kwargs=policy_kwargs, seed=plan.seed, device=plan.setting.device, **plan.hyperparameters
    )
    envs.seed(episode_seed(plan.seed, 0))
    return model


def episode_seed(seed: int, steps: int) -> int:
    """Returns the first row's seed of the episodes of a training that begins, or goes on, after ``steps`` steps.

    Row i gets the next seed but i, so rows of the training seeds 0 and 1 would play the same episodes if these
    themselves were taken.
    """
    return int(np.random.SeedSequence([seed, steps]).generate_state(1)[0]) >> 1  # below 2**31, as SB3 wants


def checkpoints(out: Path) -> list[Path]:
    """Returns the checkpoints of a run folder, oldest first."""
    return sorted((out / "checkpoints").glob("*.zip"))


def checkpoint_at(out: Path, steps: int) -> Path:
    """Returns where a run folder keeps the checkpoint after ``steps`` environment steps."""
    return out / "checkpoints" / f"{steps:010d}.zip"


def check_plan(plan: Plan, started: dict[str, Any], out: Path) -> None:
    """Raises an AgentError unless the plan that the run folder ``out`` was started with (``describe``) is this one."""
    plain = json.loads(json.dumps(plan.describe()))
    known = [name for name in plain if name in started]  # an older version wrote less
    if different := [name for name in known if plain[name] != started[name]]:
        name = different[0]
        raise AgentError(f"{out} was started with {name}={started[name]!r}, not {plain[name]!r}; choose another --out")


def _resume(plan: Plan, out: Path, envs: VecMonitor) -> tuple[BaseAlgorithm, list[Point]]:
    """Returns the newest checkpoint's model and curve, or a new model.

    Raises:
        AgentError: the folder belongs to another plan.
    """
    found = checkpoints(out)
    if not found:
        return _new_model(plan, envs), []
    memo = read_memo(found[-1])
    check_plan(plan, memo["plan"], out)
    model = algorithm_class(plan.algorithm).load(found[-1], env=envs, device=plan.setting.device)
    model.set_random_seed(episode_seed(plan.seed, model.num_timesteps))  # not the first episodes again
    return model, [Point(**point) for point in memo["points"]]


def _point(model: BaseAlgorithm, plan: Plan, seconds: float, validate: bool) -> Point:
    returns = _mean([episode["r"] for episode in model.ep_info_buffer or ()])
    load, threads = os.getloadavg()[0], torch.get_num_threads()
    point = Point(model.num_timesteps, seconds, _mean(model.ep_success_buffer), returns, load=load, threads=threads)
    if not validate:
        return point
    agent = TrainedAgent("", None, model, {"algorithm": plan.algorithm})
    score = evaluate(plan.setting, PolicyPlayer(agent, True, plan.seed), VALIDATION_EPISODES, VALIDATION_SEED, False)
    model.logger.record("validation/success_rate", score.success_rate)
    model.logger.record("validation/mean_return", score.mean_return)
    model.logger.dump(model.num_timesteps)
    return replace(point, validation_solved=score.success_rate, validation_returns=score.mean_return)


def _save(model: BaseAlgorithm, plan: Plan, points: list[Point], out: Path) -> None:
    path = checkpoint_at(out, model.num_timesteps)
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as file:
        model.save(file)
    memo = {"plan": plan.describe(), "points": [asdict(point) for point in points]}
    with zipfile.ZipFile(part, "a") as archive:
        archive.writestr(MEMO, json.dumps(memo))
    os.replace(part, path)


def finish(plan: Plan, out: Path, points: list[Point], episodes: int, seed: int) -> list[Score]:
    """Makes the newest checkpoint the agent ``policy.zip``, tests it on both machines and writes ``results.json``."""
    write_policy(checkpoints(out)[-1], out / POLICY)
    training = describe_training(plan, points)
    agent = replace(load_agent(out / POLICY, trust=True), training=training)
    settings = judged_settings(plan.setting, ("real", "neural"))
    scores = evaluate_all(agent, settings, (True, False), True, episodes, seed)
    write_results(out / RESULTS, training, scores)
    return scores


def describe_training(plan: Plan, points: list[Point]) -> dict[str, Any]:
    """Returns what ``results.json`` says of a training: the plan, how long it took, its curve and the code's hash."""
    return plan.describe() | {
        "steps": points[-1].steps, "minutes": points[-1].seconds / 60, "nc_gym": nc_gym.__version__,
        "package_sha256": PACKAGE_SHA256, "points": [asdict(point) for point in points],
    }  # fmt: skip


def write_policy(checkpoint: Path, policy: Path) -> None:
    """Writes a checkpoint as an agent's policy: without Adam's moments, two thirds of it, which only training needs.

    SB3 wants an optimizer in the zip, so there is one that has not stepped yet.
    """
    part = policy.with_name(policy.name + ".part")
    with zipfile.ZipFile(checkpoint) as source, zipfile.ZipFile(part, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename == _OPTIMIZER:
                stepped, fresh = torch.load(io.BytesIO(data), weights_only=True), io.BytesIO()
                torch.save({**stepped, "state": {}}, fresh)
                data = fresh.getvalue()
            target.writestr(entry, data)
    os.replace(part, policy)


def judged_settings(setting: EnvSetting, machines: tuple[str, ...]) -> list[EnvSetting]:
    """Returns where an agent is tested: test parameters, the environment's own horizon and denoising."""
    return [
        replace(setting, machine=machine, split="test", denoise_steps=None, max_episode_steps=None)
        for machine in machines
    ]
