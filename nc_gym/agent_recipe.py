"""Recipes: hyperparameters from a yml in RL-Zoo's format, and the policy that goes with an observation mode.

The same files serve ``python -m rl_zoo3.train``. Its entries ``policy``, ``policy_kwargs`` and ``env_wrapper`` are for
it alone: ``nc-gym agent train`` takes the policy from ``--obs``, which for "chars" is the same one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nc_gym.agent_file import AgentError
from nc_gym.sb3 import CHARS_POLICY, LATENT_POLICY, CopyingPolicy, MaskableCopyingPolicy

ZOO_ONLY = ("policy", "policy_kwargs", "env_wrapper")
NOT_HERE = ("normalize", "frame_stack", "vec_env_wrapper", "callback", "env_kwargs", "monitor_kwargs")
_LSTM = {"lstm_hidden_size": 128}
POLICIES: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {
    ("ppo", "screen"): ("CnnPolicy", {}),
    ("ppo", "chars"): (CopyingPolicy, CHARS_POLICY),
    ("ppo", "latent"): ("MlpPolicy", LATENT_POLICY),
    ("maskable_ppo", "screen"): ("CnnPolicy", {}),
    ("maskable_ppo", "chars"): (MaskableCopyingPolicy, CHARS_POLICY),
    ("maskable_ppo", "latent"): ("MlpPolicy", LATENT_POLICY),
    ("recurrent_ppo", "screen"): ("CnnLstmPolicy", _LSTM),
    ("recurrent_ppo", "chars"): ("MlpLstmPolicy", CHARS_POLICY | _LSTM),
    ("recurrent_ppo", "latent"): ("MlpLstmPolicy", LATENT_POLICY | _LSTM),
}
"""Policy class and ``policy_kwargs`` by algorithm and observation mode."""


def read_recipe(path: Path, env_id: str) -> dict[str, Any]:
    """Returns the hyperparameters for ``env_id``, or those called "default": n_envs, n_timesteps, and SB3's own.

    Raises:
        AgentError: the file is no such yml, has no entry for the environment, or asks for what only RL-Zoo does.
    """
    try:
        recipes = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise AgentError(f"{path} is no yml file ({str(error).splitlines()[0]}); compare with agents/ppo.yml") from None
    found = recipes.get(env_id, recipes.get("default")) if isinstance(recipes, dict) else None
    if not isinstance(found, dict):
        raise AgentError(f"{path} has no entry {env_id!r} and no entry 'default'; compare with agents/ppo.yml")
    recipe = dict(found)
    for name in ZOO_ONLY:
        recipe.pop(name, None)
    for name, value in recipe.items():
        if name in NOT_HERE or isinstance(value, str):
            raise AgentError(
                f"{path}: {name}={value!r} is something that only rl_zoo3.train does; "
                "give numbers here, or train with the zoo"
            )
    missing = [name for name in ("n_envs", "n_timesteps") if name not in recipe]
    if missing:
        raise AgentError(f"{path}: {missing[0]} is missing from the entry for {env_id}; compare with agents/ppo.yml")
    return recipe
