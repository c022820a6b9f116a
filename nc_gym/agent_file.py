"""A trained agent on disk: ``policy.zip`` with ``results.json`` beside it, and the rules for loading one.

``results.json`` and ``nc-gym agent evaluate --json`` share one schema: the fields of one :class:`Score` (``tests[0]``),
then ``training`` (what the policy is and how it was made) and ``tests`` (every score). The zip of Stable-Baselines3
holds pickles, which can run any code when they are loaded; so it is loaded only if its sha256 is the one in
``results.json``, or if the caller trusts it.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

import nc_gym
from nc_gym.agent_env import EnvSetting
from nc_gym.opening import Options, open_actions
from nc_gym.paths import data_root

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

POLICY, RESULTS = "policy.zip", "results.json"
MEMO = "nc_gym.json"  # in a zip that `nc-gym agent train` wrote
ALGORITHMS = ("ppo", "maskable_ppo", "recurrent_ppo")


class AgentError(ValueError):
    """A policy that cannot be used, or not for this."""


@dataclass(frozen=True)
class Score:
    """How a player did in some episodes.

    Attributes:
        env: the environment's id.
        obs: its observation mode.
        actions: its action preset.
        split: whose task parameters were drawn, "train" or "test".
        player: the algorithm of a trained policy, "random" or "oracle".
        machine: "neural" or "real".
        argmax: whether the policy took its likeliest action (else it drew one); None for other players.
        episodes: how many; episode k has the seed ``seed + k``.
        seed: of the first episode.
        success_rate: share of solved episodes, 0 to 1.
        mean_return: mean sum of rewards, 0 to 1.
        std_return: standard deviation over episodes.
        audited_rate: real machine: share of episodes whose success the true state confirms; None where nobody looks.
        failed_seeds: seeds of the episodes that were not solved.
        nc_gym: version of the package.
        package_sha256: of its source files.
        weights_sha256: of ``model.safetensors``; None if no network ran.
        policy_sha256: of the policy's zip; None for other players.
    """

    env: str
    obs: str
    actions: str
    split: str
    player: str
    machine: str
    argmax: bool | None
    episodes: int
    seed: int
    success_rate: float
    mean_return: float
    std_return: float
    audited_rate: float | None
    failed_seeds: tuple[int, ...]
    nc_gym: str
    package_sha256: str
    weights_sha256: str | None
    policy_sha256: str | None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def write_results(path: Path, training: dict[str, Any], scores: Sequence[Score]) -> None:
    """Writes a file of the schema above; ``scores[0]`` is the headline."""
    tests = [asdict(score) for score in scores]
    write_json(path, {**tests[0], "training": training, "tests": tests})


def sha256(path: Path) -> str:
    """Returns the sha256 of a file, or of a package's Python files in the order of their names."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


PACKAGE_SHA256 = sha256(Path(nc_gym.__file__).parent)  # now, before anybody edits what runs


@dataclass
class TrainedAgent:
    """A loaded policy.

    Attributes:
        name: of its folder.
        path: of its zip; None for a model that is only in memory.
        model: the Stable-Baselines3 model.
        training: what ``results.json``, or else the zip itself, says about it.
    """

    name: str
    path: Path | None
    model: BaseAlgorithm
    training: dict[str, Any]


def load_agent(path: Path, trust: bool = False) -> TrainedAgent:
    """Loads a policy.

    Args:
        path: see ``find_policy``.
        trust: load it even if no ``results.json`` names its sha256.

    Raises:
        FileNotFoundError: there is no such policy.
        AgentError: the zip is not the one that ``results.json`` describes, nothing says what it was trained for, or its
            actions mean something else by now.
        gymnasium.error.DependencyNotInstalled: stable_baselines3 is missing.
    """
    policy = find_policy(path)
    results = _read_results(policy.with_name(RESULTS))
    if not trust:
        _check_hash(policy, results)
    training = results["training"] if results else read_memo(policy).get("plan")
    if training is None:
        raise AgentError(
            f"{policy} does not say what it was trained for: it has no {RESULTS} beside it and no {MEMO} in it; "
            "use a policy that `nc-gym agent train` wrote"
        )
    _check_names(policy, training)
    model = algorithm_class(training["algorithm"]).load(policy, device="cpu")
    return TrainedAgent(policy.resolve().parent.name, policy, model, training)


def find_policy(path: Path) -> Path:
    """Returns the zip at ``path``, an agent's folder or the zip in it; a shipped agent is found from any folder.

    Raises:
        FileNotFoundError: there is none, neither here nor below ``data_root()``.
    """
    places = [place / POLICY if place.is_dir() else place for place in (path, data_root() / path)]
    for policy in places:
        if policy.is_file():
            return policy
    tried = " or ".join(dict.fromkeys(repr(str(place)) for place in places))
    raise FileNotFoundError(f"no policy at {tried}; pass the folder or the policy.zip of an agent")


def names_sha256(setting: EnvSetting) -> str:
    """Returns the sha256 of the names of a setting's actions, in their order: what a policy's outputs mean."""
    names = open_actions(Options(setting.card, setting.env, actions=setting.actions)).names
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def _check_names(policy: Path, training: dict[str, Any]) -> None:
    expected = training.get("actions_sha256")
    if expected is None:  # an older version trained it
        return
    env, actions = training["env"], training["actions"]
    found = names_sha256(EnvSetting(env, actions=actions))
    if found != expected:
        raise AgentError(
            f"{policy} was trained when the names of actions={actions!r} of {env} had sha256 {expected}, now it is "
            f"{found}; restore the card's list of words, or train it again"
        )


def _read_results(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        return {"training": dict(results["training"]), "policy_sha256": results["policy_sha256"]}
    except (ValueError, KeyError, TypeError) as error:
        raise AgentError(f"{path} is no results file of an agent ({error!r}); restore it") from None


def read_memo(policy: Path) -> dict[str, Any]:
    """Returns what ``nc-gym agent train`` wrote into a zip about it, or nothing; loads no pickle."""
    try:
        with zipfile.ZipFile(policy) as archive:
            memo: dict[str, Any] = json.loads(archive.read(MEMO)) if MEMO in archive.namelist() else {}
    except zipfile.BadZipFile:
        raise AgentError(f"{policy} is no zip file; restore it") from None
    return memo


def _check_hash(policy: Path, results: dict[str, Any] | None) -> None:
    expected = results["policy_sha256"] if results else None
    if expected is None:
        raise AgentError(
            f"{policy} has no {RESULTS} beside it that vouches for it, and such files can run any code when loaded; "
            "pass --trust if you trust where it comes from"
        )
    found = hashlib.sha256(policy.read_bytes()).hexdigest()
    if found != expected:
        raise AgentError(
            f"{policy} has sha256 {found} but {RESULTS} says {expected}; restore the file, "
            "or pass --trust if you trust where it comes from"
        )


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Returns PPO, MaskablePPO or RecurrentPPO.

    Raises:
        AgentError: there is no algorithm of that name here.
        gymnasium.error.DependencyNotInstalled: stable_baselines3 is missing.
    """
    if name not in ALGORITHMS:
        raise AgentError(f"algorithm {name!r} is unknown; choose one of {', '.join(ALGORITHMS)}")
    try:
        from sb3_contrib import MaskablePPO, RecurrentPPO
        from stable_baselines3 import PPO
    except ImportError:
        raise gym.error.DependencyNotInstalled(
            'a trained policy needs stable_baselines3: pip install ".[sb3]" in the checkout'
        ) from None
    classes: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "maskable_ppo": MaskablePPO, "recurrent_ppo": RecurrentPPO}
    return classes[name]


def check_fits(agent: TrainedAgent, env_id: str, actions: str) -> None:
    """Raises AgentError unless the agent was trained for this environment and this action preset."""
    for name, wanted in (("env", env_id), ("actions", actions)):
        if agent.training[name] != wanted:
            raise AgentError(
                f"{agent.path} was trained with {name}={agent.training[name]!r}, not {wanted!r}; "
                "choose an agent that was trained for it"
            )
