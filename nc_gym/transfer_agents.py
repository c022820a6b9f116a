"""Uses the policies of a transfer study: the best of each task becomes an agent's folder, and exploits are filmed.

The best is the one that did best in the neural computer. The choice never looks at the real machine's score, so the
real score that is published with the policy is a test. Why a task is exploited is for people to find out: they write
it into ``NOTES`` below the folder of the page.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nc_gym.agent_env import EnvSetting
from nc_gym.agent_file import POLICY, RESULTS, Score, sha256, write_results
from nc_gym.agent_train import checkpoint_at, describe_training, write_policy
from nc_gym.recording import film_episode, load_agent, open_sides, record_episodes
from nc_gym.registration import load_card
from nc_gym.transfer import (
    Job,
    Study,
    baselines,
    check_job,
    curve,
    finished,
    folder,
    pick,
    plan_of,
    scores_at,
    seeds_done,
)
from nc_gym.transfer_numbers import MODES
from nc_gym.video import VideoWriter

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPLAY = "replay.mp4"
NOTES = "exploits/notes.toml"


def export_best(study: Study, agents: Path) -> list[Path]:
    """Writes policy.zip, results.json and a side-by-side replay.mp4 per task of a finished study.

    Args:
        study: its tasks without any finished job of the neural arm get none.
        agents: folder of the agents' folders, which are named after task and algorithm.

    Returns:
        The agents' folders.
    """
    return [_export(study, setting, agents) for setting in finished(study).settings]


def _export(study: Study, setting: EnvSetting, agents: Path) -> Path:
    seeds = seeds_done(study, setting, "neural")
    job = max((Job(setting, "neural", seed) for seed in seeds), key=lambda job: _merit(study, job))
    check_job(study, job)
    points = curve(study, job)
    kind = load_card(setting.card).machine
    name = job.task.rpartition("-v")[0].lower().removeprefix(kind)
    out = agents / f"{kind}_{name}_{study.algorithm}"
    out.mkdir(parents=True, exist_ok=True)
    write_policy(checkpoint_at(folder(study, job), points[-1].steps), out / POLICY)
    training = describe_training(plan_of(study, job), points)
    training["chosen"] = f"best in the neural computer, argmax and drawn together, of {len(seeds)} training seeds"
    same_network = {"policy_sha256": sha256(out / POLICY)}  # the checkpoint's, without the optimizer's moments
    final = [score | same_network for score in scores_at(study, job, points[-1].steps)]
    headline = pick(final, "real")
    training |= {name: headline[name] for name in ("nc_gym", "package_sha256")}  # those that trained and judged it
    others = [score for score in final if score is not headline] + baselines(study, setting)
    write_results(out / RESULTS, training, [Score(**score) for score in (headline, *others)])
    record_episodes(
        setting.env, str(out), "both", out / REPLAY, study.test_seed, 1, setting.weights, False, setting.actions, "test"
    )
    return out


def _merit(study: Study, job: Job) -> tuple[float, float]:
    scores = scores_at(study, job, curve(study, job)[-1].steps)
    both = [pick(scores, "neural", argmax) for argmax in MODES.values()]
    return sum(score["success_rate"] for score in both), sum(score["mean_return"] for score in both)


def film_exploit(study: Study, exploit: dict[str, Any], docs: Path) -> dict[str, Any]:
    """Films an exploited episode on both machines.

    Args:
        study: that found it.
        exploit: as ``transfer_numbers.exploits`` returns it.
        docs: folder; the video goes into ``docs/exploits``.

    Returns:
        ``video``, its path below ``docs``, and ``filmed``, whether each machine counts the filmed episode as solved.
    """
    setting = next(setting for setting in study.settings if setting.env == exploit["env"])
    job = Job(setting, "neural", exploit["seed"])
    mode, steps, episode = exploit["mode"], exploit["steps"], exploit["episode"]
    agent = load_agent(str(checkpoint_at(folder(study, job), steps)), trust=True, argmax=MODES[mode])
    name = f"exploits/{job.task}-seed{job.seed}-{steps}steps-{mode}-episode{episode}.mp4"
    sides = open_sides(setting.env, "both", agent.obs, setting.weights, setting.actions, "test")
    try:
        with VideoWriter(docs / name, sides[0].env.metadata["render_fps"]) as video:
            outcome = film_episode(sides, agent.start, episode, video)
    finally:
        for side in sides:
            side.env.close()
    return {"video": name, "filmed": {machine: bool(solved) for machine, solved in outcome.success.items()}}


def read_notes(docs: Path, weights: str) -> dict[str, str]:
    """Returns why tasks are exploited in a neural computer, by the id without its namespace; nothing without notes.

    Args:
        docs: folder of the page.
        weights: sha256 of the neural computer's weights: what explains an exploit of others may not explain this one.

    Raises:
        ValueError: the file is no TOML, or a task has no text or no weights.
    """
    path = docs / NOTES
    if not path.is_file():
        return {}
    try:
        notes = tomllib.loads(path.read_text(encoding="utf-8"))
        return {task: str(note["text"]) for task, note in notes.items() if weights.startswith(note["weights"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is faulty ({error!r}); give each task a table [TASK] with a string text and the first letters of "
            "the sha256 of the weights it is about"
        ) from None
