"""Solve a task without learning: fork the neural computer 64 times, try 64 plans at once, keep the best, go on.

    python examples/fork_search.py                   # ReadFlag: find out which file there is and show it
    python examples/fork_search.py --env nc_gym/TerminalEcho-v0 --seed 7

No real computer can be copied like that: a fork takes about a millisecond, and its first step copies the past. Each
round tries random plans of a few words from the present state, all in one batched forward per word, and takes the plan
that earned most, up to its last word that earned anything. At the end the chosen words are also run on real bash.
Expect the return to climb to 1.00 within a few dozen rounds, in under two minutes.
"""

from __future__ import annotations

import argparse

import gymnasium as gym
import numpy as np

import nc_gym
from nc_gym.vector_env import ComputerVectorEnv

gym.register_envs(nc_gym)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="nc_gym/TerminalReadFlag-v0")
parser.add_argument("--weights", default=None, help="weights folder; the shipped one if not given")
parser.add_argument("--plans", type=int, default=64, help="plans tried at a time")
parser.add_argument("--words", type=int, default=2, help="words of a plan")
parser.add_argument("--rounds", type=int, default=60, help="rounds at most")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
print("Expect the return to climb to 1.00 within a few dozen rounds, in under two minutes, and the same on real bash.")


def try_plans(now: ComputerVectorEnv, rng: np.random.Generator) -> tuple[list[int], float, bool]:
    """Plays random plans in forks of ``now``; returns the best one, what it earned, and whether it solved the task."""
    forks = now.fork(0, args.plans)
    plans, earned, over = [], np.zeros(args.plans), np.zeros(args.plans, bool)
    solved, useful = np.zeros(args.plans, bool), np.zeros(args.plans, int)  # useful: words up to the last that earned
    for count in range(1, args.words + 1):
        masks = forks.action_masks()
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        _, rewards, terminated, truncated, _ = forks.step(actions)  # a finished fork boots again: its rest is ignored
        earned += np.where(over, 0, rewards)
        useful[(rewards > 0) & ~over] = count
        solved |= terminated & ~over
        plans.append(actions)
        over |= terminated | truncated
    best = int(earned.argmax())
    return [int(actions[best]) for actions in plans[: useful[best]]], float(earned[best]), bool(solved[best])


rng = np.random.default_rng(args.seed)
now = gym.make_vec(args.env, num_envs=1, actions="words", weights=args.weights, autoreset_mode="NextStep")
assert isinstance(now, ComputerVectorEnv)
_, info = now.reset(seed=args.seed)
print(f"task: {info['instruction'][0]}")
taken: list[int] = []
total, solved = 0.0, False
for round in range(1, args.rounds + 1):
    plan, earned, solved = try_plans(now, rng)
    if earned <= 0:
        continue  # nothing earned anything: try others
    for action in plan:
        now.step(np.array([action]))
    taken, total = taken + plan, total + earned
    print(f"round {round:2d}: return {total:.2f}  {' '.join(repr(now.keys[action]) for action in taken)}")
    if solved:
        break
now.close()
print(f"neural: {'solved' if solved else 'not solved'}")

# --- the same words on the real machine
real = gym.make(args.env, machine="real", actions="words")
real.reset(seed=args.seed)
for action in taken:
    obs, reward, terminated, truncated, info = real.step(action)
    if terminated or truncated:
        break
print(f"real bash: {'solved' if taken and info['is_success'] else 'not solved'}")
real.close()
