"""Random keys in the neural terminal, filmed.

    python examples/random_video.py --out random.mp4 --steps 100

Expect an mp4 of a few seconds: a prompt, and what happens to it when a monkey types. Takes half a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym

import nc_gym
from nc_gym.video import VideoWriter, rendered

gym.register_envs(nc_gym)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="nc_gym/Terminal-v0")
parser.add_argument("--machine", default="neural", choices=("neural", "real"))
parser.add_argument("--weights", default=None, help="weights folder; the shipped one if not given")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("random.mp4"))
args = parser.parse_args()
print("Expect a video of a few seconds, in half a minute: a prompt, and what happens to it when a monkey types.")

env = gym.make(args.env, machine=args.machine, weights=args.weights, render_mode="rgb_array")
env.action_space.seed(args.seed)
env.reset(seed=args.seed)
with VideoWriter(args.out, fps=10) as video:
    video.write(rendered(env))
    for _ in range(args.steps):
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        video.write(rendered(env))
        if terminated or truncated:
            env.reset()
env.close()
print(f"wrote {args.out}: {video.frames} frames of {args.machine} {args.env} under random keys")
