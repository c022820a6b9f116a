"""Train MaskablePPO of sb3-contrib with whole words as actions: slots without a word behind them are never tried.

    python examples/maskable_ppo.py                  # under two minutes
    python examples/maskable_ppo.py --steps 200000

With actions="words" an action types a command, a word of the instruction or a word that stands on the screen, so that
a task takes a handful of actions. Expect the mean return of training to rise from rollout to rollout.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.vec_env import VecMonitor

import nc_gym
from nc_gym.sb3 import CHARS_POLICY, ComputerVecEnv
from nc_gym.vector_env import ComputerVectorEnv

gym.register_envs(nc_gym)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="nc_gym/TerminalReadFlag-v0")
parser.add_argument("--machine", default="neural", choices=("neural", "real"))
parser.add_argument("--weights", default=None, help="weights folder; the shipped one if not given")
parser.add_argument("--steps", type=int, default=8_000, help="environment steps of training")
parser.add_argument("--envs", type=int, default=16, help="computers in one batch")
parser.add_argument("--rollout", type=int, default=64, help="steps of each computer between two updates")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
print("Expect the mean return to rise from rollout to rollout, in under two minutes.")

batch = gym.make_vec(
    args.env, num_envs=args.envs, obs="chars", actions="words", autoreset_mode="SameStep", machine=args.machine,
    weights=args.weights,
)  # fmt: skip
assert isinstance(batch, ComputerVectorEnv)
envs = VecMonitor(ComputerVecEnv(batch))
model = MaskablePPO(
    "MlpPolicy", envs, n_steps=args.rollout, batch_size=min(256, args.rollout * args.envs), n_epochs=4,
    learning_rate=1e-3, ent_coef=0.01, gamma=0.95, policy_kwargs=CHARS_POLICY, seed=args.seed, device="cpu",
)  # fmt: skip
rollout = args.rollout * args.envs
while model.num_timesteps < args.steps:
    model.learn(rollout, reset_num_timesteps=False)
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    mean = np.mean(returns) if returns else 0.0
    print(f"{model.num_timesteps:7d} steps: mean return {mean:.3f} of {len(returns)} episodes")

# --- what the policy does now, and that no masked action is among it
obs: Any = envs.reset()
for _ in range(8):
    masks = get_action_masks(envs)
    actions, state = model.predict(obs, action_masks=masks)
    assert masks[np.arange(args.envs), actions].all()
    obs, rewards, dones, infos = envs.step(actions)
    print(" ".join(f"{batch.keys[action]!r}" for action in actions[:4]))
envs.close()
