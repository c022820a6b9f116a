"""``nc-gym agent transfer``: policies trained in one computer and judged on both, over tasks, seeds and arms.

An *arm* is a way to train: "neural" (in the neural computer only), "real" (the same recipe on the real machine, for as
many environment steps and at least as long as the neural arm took), or a variant of the neural arm, "denoise_steps=K",
"horizon=K" or "obs=NAME" (what the policy sees). Of any arm a training ends earlier once its task is ``mastered``. A
*job* is one arm with one task and one training seed; its checkpoints are judged on the real machine and, of the neural
arm, on the neural one, with argmax and with drawn actions, over the same episode seeds with test parameters.

Everything lies below ``out`` and is written whole: ``<task>/<arm>/seed-<k>/`` is a run folder of ``agent_train`` that
also holds ``scores/<steps>.json``, and ``<task>/baselines.json`` the random and the oracle player. What is there
already is not done again, so an interrupted study goes on. ``transfer_numbers`` and ``transfer_report`` make of it what
is published.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from nc_gym.agent_env import EnvSetting
from nc_gym.agent_evaluate import OraclePlayer, PolicyPlayer, RandomPlayer, evaluate
from nc_gym.agent_file import load_agent, read_memo, sha256, write_json
from nc_gym.agent_train import Plan, Point, check_plan, checkpoints, judged_settings, mastered, train
from nc_gym.registration import card_sha256, load_card

MACHINES = ("neural", "real")
VARIANTS = {"denoise_steps": "denoise_steps", "horizon": "max_episode_steps"}  # arm -> field of EnvSetting
OBSERVATIONS = ("screen", "chars", "latent")
WHOLE_ARMS = ("real", "denoise_steps=2", "denoise_steps=4", "horizon=20", "obs=latent", "obs=screen")
WHOLE_SEEDS = 5  # of a whole study, which has these arms beside "neural" and all tasks of the card


@dataclass(frozen=True)
class Study:
    """The grid, and what its jobs have in common.

    Attributes:
        settings: where each task is learned by the neural arm.
        arms: names of the arms, "neural" first.
        seeds: number of training seeds, 0, 1, ...
        algorithm: what learns.
        num_envs: computers in a batch.
        hyperparameters: SB3's own, by task.
        steps: environment steps of a training.
        every: steps between two checkpoints.
        episodes: episodes of each test.
        test_seed: seed of the first test episode.
        out: where the jobs lie.
    """

    settings: tuple[EnvSetting, ...]
    arms: tuple[str, ...]
    seeds: int
    algorithm: str
    num_envs: int
    hyperparameters: dict[str, dict[str, Any]]
    steps: int
    every: int
    episodes: int
    test_seed: int
    out: Path

    def __post_init__(self) -> None:
        if self.arms[:1] != ("neural",):
            raise ValueError(f"arms are {', '.join(self.arms)}; begin with neural, the others are compared with it")
        cards = {setting.card for setting in self.settings}
        if len(cards) > 1:
            raise ValueError(
                f"the tasks are of the cards {', '.join(sorted(cards))}; expected tasks of one card, "
                "which share the network and the actions; make a study of each card"
            )
        for arm in self.arms:
            arm_setting(self.settings[0], arm)


@dataclass(frozen=True)
class Job:
    """One arm with one task and one training seed."""

    setting: EnvSetting
    arm: str
    seed: int

    @property
    def task(self) -> str:
        """The id without its namespace."""
        return self.setting.env.rpartition("/")[2]


def arm_setting(setting: EnvSetting, arm: str) -> EnvSetting:
    """Returns where an arm learns, from where the neural arm learns.

    Raises:
        ValueError: there is no such arm.
    """
    if arm in MACHINES:
        return replace(setting, machine=arm)
    name, _, value = arm.partition("=")
    if name == "obs" and value in OBSERVATIONS:
        return replace(setting, obs=value)
    if name not in VARIANTS or not value.isdecimal() or int(value) < 1:
        raise ValueError(
            f"arm {arm!r} is unknown; choose neural, real, denoise_steps=K or horizon=K with a number K, "
            f"or obs= with one of {', '.join(OBSERVATIONS)}"
        )
    return replace(setting, **{VARIANTS[name]: int(value)})  # type: ignore[arg-type]


def judges(arm: str) -> tuple[str, ...]:
    """Returns the machines on which an arm is judged: of the others than "neural" only the real return is told."""
    return MACHINES if arm == "neural" else ("real",)


def common_number(recipes: Mapping[str, dict[str, Any]], name: str, option: str, given: int | None) -> int:
    """Takes a number that a study has only once out of the recipes of its tasks, and returns it.

    Args:
        recipes: by task; ``name`` is removed from each.
        name: "n_envs" or "n_timesteps".
        option: which option of the command line gives the number for all tasks.
        given: what it gave; None leaves it to the recipes.

    Raises:
        ValueError: nothing was given, and the recipes differ.
    """
    wanted = {env: int(recipe.pop(name)) for env, recipe in recipes.items()}
    if given is None and len(set(wanted.values())) > 1:
        raise ValueError(
            f"the recipes have {name} {', '.join(f'{number:,} ({env})' for env, number in wanted.items())}; "
            f"expected one number for all tasks of a study; pass {option}, or make a study of each"
        )
    return next(iter(wanted.values())) if given is None else given


def not_run(study: Study, command: str) -> dict[str, Any]:
    """Returns how much of a whole study of the card there is, and what runs the rest.

    Args:
        study: this one.
        command: the command line that made it.

    Returns:
        ``grid``, by arm and task the number of training seeds that are done; ``seeds`` of a whole study; and the
        ``command`` line that runs what is missing, empty if nothing is.
    """
    setting = study.settings[0]
    studied = [setting.env for setting in study.settings]
    environments = load_card(setting.card).environments.values()
    tasks = [*studied, *(one.id for one in environments if one.task.success and one.id not in studied)]
    arms = [*study.arms, *(a for a in WHOLE_ARMS if a not in study.arms and arm_setting(setting, a) != setting)]
    whole = replace(
        study, settings=tuple(replace(setting, env=env) for env in tasks), arms=tuple(arms),
        seeds=max(WHOLE_SEEDS, study.seeds),
    )  # fmt: skip
    grid = {arm: {one.env: len(seeds_done(whole, one, arm)) for one in whole.settings} for arm in arms}
    options = {"--tasks": ",".join(tasks), "--arms": ",".join(arms), "--seeds": str(whole.seeds)}
    complete = all(number == whole.seeds for by_task in grid.values() for number in by_task.values())
    runs = shlex.join(word for word in shlex.split(command) if word != "--finished")
    return {"grid": grid, "seeds": whole.seeds, "command": "" if complete else with_options(runs, options)}


def with_options(command: str, values: dict[str, str]) -> str:
    """Returns a command line with other values of some options, whether or not it had them."""
    words = iter(shlex.split(command))
    kept = []
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in values:
            kept.append(word)
        elif not equals:
            next(words, None)  # the old value
    return shlex.join([*kept, *(word for option in values.items() for word in option)])


def jobs(study: Study) -> Iterator[Job]:
    """Yields all jobs: a whole grid for the first training seed, then for the next, so that a part tells most."""
    for seed in range(study.seeds):
        for setting in study.settings:
            for arm in study.arms:
                yield Job(setting, arm, seed)


def folder(study: Study, job: Job) -> Path:
    """Returns the run folder of a job."""
    return study.out / job.task / job.arm / f"seed-{job.seed}"


def seeds_done(study: Study, setting: EnvSetting, arm: str) -> list[int]:
    """Returns the training seeds of an arm and a task whose jobs are trained and judged to their end."""
    return [seed for seed in range(study.seeds) if is_done(study, Job(setting, arm, seed))]


def is_done(study: Study, job: Job) -> bool:
    """Tells whether a job is trained and judged to its end."""
    saved = checkpoints(folder(study, job))
    judged = all(_score_file(study, job, int(checkpoint.stem)).exists() for checkpoint in saved)
    return bool(saved) and judged and _trained(study, job, saved[-1])


def _trained(study: Study, job: Job, newest: Path) -> bool:
    """Tells whether a job's newest checkpoint is its last one."""
    last = _points(newest)[-1]
    return mastered(last) or (last.steps >= study.steps and last.seconds >= _least_seconds(study, job))


def _least_seconds(study: Study, job: Job) -> float:
    """Returns how long a job must train at least: on the real machine as long as in the neural one."""
    return curve(study, replace(job, arm="neural"))[-1].seconds if job.arm == "real" else 0.0


def _points(checkpoint: Path) -> list[Point]:
    return [Point(**point) for point in read_memo(checkpoint)["points"]]


def finished(study: Study) -> Study:
    """Returns the part of a study that can be told of: the tasks of which some job of the neural arm is done.

    Raises:
        ValueError: there is no such task.
    """
    begun = tuple(setting for setting in study.settings if seeds_done(study, setting, "neural"))
    if not begun:
        raise ValueError(
            f"{study.out} holds no finished job of the neural arm with {study.steps:,} steps; run the same command "
            "without --finished first"
        )
    return replace(study, settings=begun)


def check_weights(setting: EnvSetting, scores: Sequence[dict[str, Any]]) -> None:
    """Raises a ValueError unless the neural scores were made in the weights that are named beside them."""
    older = {score["weights_sha256"] for score in scores if score["machine"] == "neural"}
    older -= {sha256(setting.weights_file) if setting.weights_file else None}
    if older:
        raise ValueError(
            f"scores of {setting.env} were made in the weights {', '.join(str(name)[:8] for name in older)}, not in "
            f"those of {setting.weights_file}; check out the weights they belong to, or choose another --out"
        )


def plan_of(study: Study, job: Job) -> Plan:
    """Returns what a job trains."""
    setting = arm_setting(job.setting, job.arm)
    return Plan(setting, study.algorithm, job.seed, study.num_envs, study.hyperparameters[job.setting.env])


def run(study: Study) -> None:
    """Does whatever of the study is not done yet."""
    console = Console()
    for setting in study.settings:
        baselines(study, setting)
    todo = list(jobs(study))
    for number, job in enumerate(todo, 1):
        console.print(f"[{number}/{len(todo)}] {job.task}, {job.arm}, seed {job.seed}")
        points = run_job(study, job)
        final = scores_at(study, job, points[-1].steps)
        solved = ", ".join(f"{s['machine']} {s['success_rate']:.0%}" for s in final if s["argmax"])
        console.print(f"    {points[-1].steps} steps in {points[-1].seconds / 60:.1f} minutes; solved: {solved}")


def run_job(study: Study, job: Job) -> list[Point]:
    """Trains a job, judges its checkpoints and returns its learning curve; of a job that is done, only the curve."""
    if is_done(study, job):
        check_job(study, job)
        return curve(study, job)
    plan, out = plan_of(study, job), folder(study, job)
    points = train(plan, out, study.steps, study.every, _least_seconds(study, job), until_mastered=True)
    for checkpoint in checkpoints(out):
        _judge(study, job, checkpoint)
    return points


def curve(study: Study, job: Job) -> list[Point]:
    """Returns the learning curve of a job that has been trained; its run may hold more steps than the study has.

    The real arm is told to its end: it may go on for as long as the neural arm took.
    """
    points = _points(checkpoints(folder(study, job))[-1])
    return points if job.arm == "real" else points[: sum(point.steps < study.steps for point in points) + 1]


def check_job(study: Study, job: Job) -> None:
    """Raises an error unless a job was trained as the study says, and judged under its conditions in its weights."""
    saved = checkpoints(folder(study, job))
    check_plan(plan_of(study, job), read_memo(saved[-1])["plan"], folder(study, job))
    for checkpoint in saved:
        _check_protocol(study, _score_file(study, job, int(checkpoint.stem)), job.setting)


def _score_file(study: Study, job: Job, steps: int) -> Path:
    return folder(study, job) / "scores" / f"{steps:010d}.json"


def scores_at(study: Study, job: Job, steps: int) -> list[dict[str, Any]]:
    """Returns the scores of a checkpoint: both machines, argmax and not."""
    scores: list[dict[str, Any]] = json.loads(_score_file(study, job, steps).read_text())["scores"]
    return scores


def _judge(study: Study, job: Job, checkpoint: Path) -> None:
    file = _score_file(study, job, int(checkpoint.stem))
    if file.exists():
        _check_protocol(study, file, job.setting)
        return
    agent = load_agent(checkpoint, trust=True)  # this command made it
    scores = []
    for argmax in (True, False):
        for setting in judged_settings(arm_setting(job.setting, job.arm), judges(job.arm)):
            player = PolicyPlayer(agent, argmax, study.test_seed)
            scores.append(asdict(evaluate(setting, player, study.episodes, study.test_seed)))
    write_json(file, _protocol(study) | {"scores": scores})


def _protocol(study: Study) -> dict[str, Any]:
    card = study.settings[0].card
    return {"episodes": study.episodes, "test_seed": study.test_seed, "card_sha256": card_sha256(card)}


def _check_protocol(study: Study, file: Path, setting: EnvSetting) -> None:
    """Raises a ValueError if scores were made under other conditions than those of the study."""
    found, wanted = json.loads(file.read_text()), _protocol(study)
    if any(found[name] != wanted[name] for name in ("episodes", "test_seed")):
        raise ValueError(
            f"{file} was made with {found['episodes']} episodes from seed {found['test_seed']}, not "
            f"{study.episodes} from {study.test_seed}; choose another --out"
        )
    if found.get("card_sha256") != wanted["card_sha256"]:
        raise ValueError(f"{file} was made with other tasks than the card {setting.card} has now; choose another --out")
    check_weights(setting, found["scores"])


def baselines(study: Study, setting: EnvSetting) -> list[dict[str, Any]]:
    """Returns the scores of random actions and of the oracle on both machines, played now or earlier."""
    file = study.out / Job(setting, "", 0).task / "baselines.json"
    if file.exists():
        _check_protocol(study, file, setting)
    else:
        scores = [
            asdict(evaluate(where, player, study.episodes, study.test_seed))
            for player in (RandomPlayer(), OraclePlayer())
            for where in judged_settings(setting, MACHINES)
        ]
        write_json(file, _protocol(study) | {"scores": scores})
    scores = json.loads(file.read_text())["scores"]
    return scores


def pick(scores: Sequence[dict[str, Any]], machine: str, argmax: bool | None = True, player: str | None = None) -> Any:
    """Returns the one score of a machine and a mode, and of a player if one is named."""
    (found,) = (
        score for score in scores
        if score["machine"] == machine and score["argmax"] == argmax and player in (None, score["player"])
    )  # fmt: skip
    return found
