"""Train PPO of Stable-Baselines3 inside the neural terminal, then test the same policy on real bash.

    python examples/train_ppo.py                    # a quick look: under two minutes, nothing solved yet
    python examples/train_ppo.py --steps 400000     # that of agents/ppo.yml, some ten minutes

The policy never sees the real machine before the test. Expect the mean return on both machines to rise with the steps,
from about 0.002 (random keys) towards 1, and the two machines to agree. CopyingPolicy is not born blank: it already
likes to type what the next word of the banner says (nc_gym.sb3.teach_copying). `nc-gym agent train` does the same with
checkpoints, logs and a results file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import ProgressBarCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

import nc_gym
from nc_gym.sb3 import CHARS_POLICY, ComputerVecEnv, CopyingPolicy

gym.register_envs(nc_gym)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="nc_gym/TerminalEcho-v0")
parser.add_argument("--steps", type=int, default=20_000, help="environment steps of training")
parser.add_argument("--envs", type=int, default=32, help="computers in one batch")
parser.add_argument("--rollout", type=int, default=128, help="steps of each computer between two updates")
parser.add_argument("--episodes", type=int, default=20, help="episodes of each test")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--weights", default=None, help="weights folder; the shipped one if not given")
parser.add_argument("--out", type=Path, default=Path("runs/train_ppo.zip"), help="where the policy goes")
args = parser.parse_args()
print("Expect the mean return to rise with the steps, on both machines alike; the default solves nothing yet.")


def make_envs(machine: str, rows: int, split: str) -> VecMonitor:
    envs = gym.make_vec(
        args.env,
        num_envs=rows,
        obs="chars",
        autoreset_mode="SameStep",
        machine=machine,
        weights=args.weights,
        split=split,
    )
    return VecMonitor(ComputerVecEnv(envs))


# --- train in the neural terminal only
envs = make_envs("neural", args.envs, "train")
model = PPO(
    CopyingPolicy, envs, n_steps=args.rollout, batch_size=min(512, args.rollout * args.envs), n_epochs=4,
    learning_rate=1e-3, ent_coef=0.01, gamma=0.95, gae_lambda=0.9, policy_kwargs=CHARS_POLICY, seed=args.seed,
    device="cpu",
)  # fmt: skip
model.learn(args.steps, callback=ProgressBarCallback())
envs.close()
model.save(args.out)
print(f"trained {model.num_timesteps} steps in the neural terminal: {args.out}")

# --- test on both machines: other words than those of training, the same episodes on each
for machine in ("neural", "real"):
    envs = make_envs(machine, 1, "test")
    envs.seed(12_345)
    returns = np.asarray(evaluate_policy(model, envs, args.episodes, return_episode_rewards=True)[0])
    solved = int((returns > 0.999).sum())  # a return of 1 is a solved task
    print(f"{machine:>6}: solved {solved} of {args.episodes}, mean return {returns.mean():.3f}")
    envs.close()
