"""Train PPO inside the neural terminal, then test the same policy on real bash.

    pip install nc-gym[sb3]
    python examples/train_ppo.py                          # the shipped agent's recipe: agents/terminal_echo_ppo
    python examples/train_ppo.py --steps 20000 --episodes 10 --out runs/try    # a quick look, a minute or two

The policy never sees the real machine before the final test. Random keys and the oracle are tested beside it, with the
same episode seeds. Expect a success rate above 0.9 on both machines after the full recipe and about 0 for random keys.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import ProgressBarCallback
from stable_baselines3.common.vec_env import VecMonitor

import nc_gym
from nc_gym.env import ComputerEnv
from nc_gym.sb3 import CHARS_POLICY, ComputerVecEnv, teach_copying

gym.register_envs(nc_gym)

ID = "nc_gym/TerminalEcho-v0"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300_000, help="environment steps of training")
    parser.add_argument("--envs", type=int, default=32, help="computers in one batch")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of each test")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training")
    parser.add_argument("--test-seed", type=int, default=12_345, help="first episode seed of the tests")
    parser.add_argument("--weights", type=str, default=None, help="weights folder; the shipped one if not given")
    parser.add_argument("--device", type=str, default="auto", help="torch device of the neural terminal")
    parser.add_argument("--out", type=Path, default=Path("agents/terminal_echo_ppo"), help="where the results go")
    return parser.parse_args()


# --- the environments: one batched neural terminal to learn in, either machine to be tested on


def make_envs(machine: str, num_envs: int, args: argparse.Namespace) -> ComputerVecEnv:
    envs = gym.make_vec(
        ID,
        num_envs=num_envs,
        obs="chars",
        autoreset_mode="SameStep",
        machine=machine,
        weights=args.weights,
        device=args.device,
    )
    return ComputerVecEnv(envs)


# --- the test: episodes with given seeds, played by anything that chooses actions


def test(machine: str, player: str, model: PPO | None, args: argparse.Namespace) -> dict[str, Any]:
    """Plays ``args.episodes`` episodes one after another and returns the success rate and the mean return."""
    env = gym.make(ID, obs="chars", machine=machine, weights=args.weights, device=args.device)
    computer = env.unwrapped
    assert isinstance(computer, ComputerEnv)
    rng = np.random.default_rng(args.test_seed)
    returns, successes = [], []
    for episode in range(args.episodes):
        obs, info = env.reset(seed=args.test_seed + episode)
        plan = iter(computer.oracle()) if player == "oracle" else None
        done, total = False, 0.0
        while not done:
            if model is not None:
                action = int(model.predict(obs, deterministic=True)[0])
            else:
                action = next(plan, 0) if plan is not None else int(rng.integers(len(computer.keys)))
            obs, reward, terminated, truncated, info = env.step(action)
            total += float(reward)
            done = terminated or truncated
        returns.append(total)
        successes.append(info["is_success"])
    env.close()
    result = {
        "success_rate": float(np.mean(successes)),
        "mean_return": float(np.mean(returns)),
        "std_return": float(np.std(returns)),
    }
    print(f"{player:>7} on {machine:>6}: success {result['success_rate']:.2f}, return {result['mean_return']:.3f}")
    return {"player": player, "machine": machine, "episodes": args.episodes, "seed": args.test_seed} | result


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)

    # --- train in the neural terminal only
    envs = VecMonitor(make_envs("neural", args.envs, args))
    model = PPO(
        "MlpPolicy", envs, n_steps=128, batch_size=512, n_epochs=4, learning_rate=1e-3, ent_coef=0.01, gamma=0.95,
        gae_lambda=0.9, policy_kwargs=CHARS_POLICY, seed=args.seed, device="cpu", tensorboard_log="runs/tensorboard",
    )  # fmt: skip
    teach_copying(model.policy)
    start = time.perf_counter()
    model.learn(args.steps, callback=ProgressBarCallback())
    minutes = (time.perf_counter() - start) / 60
    policy = args.out / "policy.zip"
    model.save(policy)
    envs.close()
    print(f"trained {model.num_timesteps} steps in {minutes:.1f} minutes: {policy}")

    # --- test the policy, random keys and the oracle on both machines, with the same episode seeds
    tests = [
        test(machine, player, model if player == "ppo" else None, args)
        for machine in ("neural", "real")
        for player in ("ppo", "random", "oracle")
    ]
    weights = Path(args.weights) if args.weights else Path("weights/terminal")
    results = {
        "env": ID,
        "algorithm": "PPO (stable-baselines3), trained in the neural terminal only",
        "train_steps": model.num_timesteps,
        "train_minutes": round(minutes, 1),
        "train_seed": args.seed,
        "deterministic": True,
        "tests": tests,
        "nc_gym": nc_gym.__version__,
        "policy_sha256": sha256(policy),
        "weights_sha256": sha256(weights / "model.safetensors"),
    }
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"results: {args.out / 'results.json'}")


if __name__ == "__main__":
    main()
