"""Makes agents of a transfer study: of each task the policy that did best in the neural computer becomes a folder.

The choice never looks at the real machine's score, so the real score that is published with the policy is a test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nc_gym.agent_env import EnvSetting
from nc_gym.agent_file import POLICY, RESULTS, Score, sha256, write_results
from nc_gym.agent_train import checkpoint_at, describe_training, write_policy
from nc_gym.recording import record_episodes
from nc_gym.registration import load_card
from nc_gym.transfer import Job, Study, baselines, curve, folder, pick, plan_of, scores_at

REPLAY = "replay.mp4"


def export_best(study: Study, agents: Path) -> list[Path]:
    """Writes policy.zip, results.json and a side-by-side replay.mp4 per task of a finished study.

    Args:
        study: of which every job of the neural arm is done.
        agents: folder of the agents' folders, which are named after task and algorithm.

    Returns:
        The agents' folders.
    """
    return [_export(study, setting, agents) for setting in study.settings]


def _export(study: Study, setting: EnvSetting, agents: Path) -> Path:
    job = max((Job(setting, "neural", seed) for seed in range(study.seeds)), key=lambda job: _merit(study, job))
    points = curve(study, job)
    kind = load_card(setting.card).machine
    name = job.task.rpartition("-v")[0].lower().removeprefix(kind)
    out = agents / f"{kind}_{name}_{study.algorithm}"
    out.mkdir(parents=True, exist_ok=True)
    write_policy(checkpoint_at(folder(study, job), points[-1].steps), out / POLICY)
    training = describe_training(plan_of(study, job), points)
    training["chosen"] = f"best argmax score in the neural computer of {study.seeds} training seeds"
    same_network = {"policy_sha256": sha256(out / POLICY)}  # the checkpoint's, without the optimizer's moments
    final = [score | same_network for score in scores_at(study, job, points[-1].steps)]
    headline = pick(final, "real")
    others = [score for score in final if score is not headline] + baselines(study, setting)
    write_results(out / RESULTS, training, [Score(**score) for score in (headline, *others)])
    record_episodes(
        setting.env, str(out), "both", out / REPLAY, study.test_seed, 1, setting.weights, False, setting.actions, "test"
    )
    return out


def _merit(study: Study, job: Job) -> tuple[float, float]:
    score: dict[str, Any] = pick(scores_at(study, job, curve(study, job)[-1].steps), "neural")
    return score["success_rate"], score["mean_return"]
