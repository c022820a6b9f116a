"""PPO in one file of plain torch: no Stable-Baselines3, and the tensors stay on the network's device.

    python examples/ppo_torch.py                     # under two minutes
    python examples/ppo_torch.py --steps 1000000 --device cuda

The computers hand out tensors on the device of their network (`output="torch"`), and the policy acts on them there.
What the reader makes of the screens is made on the host and copied. The policy looks at the banner and at the
characters left of the cursor. Expect the mean return to rise from about 0.00 as the policy learns to begin its line
with "echo"; with more steps it goes on rising.
"""

from __future__ import annotations

import argparse
import time

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import nc_gym

gym.register_envs(nc_gym)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="nc_gym/TerminalEcho-v0")
parser.add_argument("--machine", default="neural", choices=("neural", "real"))
parser.add_argument("--weights", default=None, help="weights folder; the shipped one if not given")
parser.add_argument("--device", default="auto", help="torch device of the computers and of the policy")
parser.add_argument("--steps", type=int, default=24_000, help="environment steps of training")
parser.add_argument("--envs", type=int, default=32, help="computers in one batch")
parser.add_argument("--rollout", type=int, default=64, help="steps of each computer between two updates")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
print("Expect the mean return to rise from about 0.00, in under two minutes; with more steps it goes on rising.")
EPOCHS, MINIBATCHES, GAMMA, LAMBDA, CLIP, ENTROPY, RATE = 4, 8, 0.95, 0.9, 0.2, 0.01, 1e-3
COLUMNS, LEFT = 40, 12  # of the screen; characters left of the cursor that the policy sees


class Policy(nn.Module):
    """Logits over keys and a value, from uint8 (B, 522): banner 40, screen 12 x 40, cursor row and column."""

    def __init__(self, keys: int, width: int = 32) -> None:
        super().__init__()
        self.glyphs = nn.Embedding(128, width)
        self.body = nn.Sequential(nn.Linear((COLUMNS + LEFT) * width, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU())
        self.logits, self.value = nn.Linear(128, keys), nn.Linear(128, 1)
        nn.init.zeros_(self.logits.weight)  # at first every key is as likely

    def forward(self, obs: Tensor) -> tuple[Categorical, Tensor]:
        """Returns the chances of the keys and the values (B,)."""
        codes = obs.long().clamp(max=127)
        row, column = codes[:, -2].clamp(max=11), codes[:, -1].clamp(max=COLUMNS - 1)
        place = (row * COLUMNS + column + COLUMNS)[:, None] + torch.arange(-LEFT, 0, device=obs.device)
        seen = torch.cat([codes[:, :COLUMNS], codes.gather(1, place)], 1)
        hidden = self.body(self.glyphs(seen).flatten(1))
        return Categorical(logits=self.logits(hidden)), self.value(hidden)[:, 0]


torch.manual_seed(args.seed)
envs = gym.make_vec(
    args.env, num_envs=args.envs, obs="chars", output="torch", autoreset_mode="SameStep", machine=args.machine,
    weights=args.weights, device=args.device,
)  # fmt: skip
obs, info = envs.reset(seed=args.seed)
device, start = obs.device, time.perf_counter()
assert isinstance(envs.single_action_space, gym.spaces.Discrete)
policy = Policy(int(envs.single_action_space.n)).to(device)
optimizer = torch.optim.Adam(policy.parameters(), RATE, eps=1e-5)
T, N = args.rollout, args.envs
running, finished = torch.zeros(N, device=device), []  # the return of each running episode; those of finished ones

for update in range(1, max(1, args.steps // (T * N)) + 1):
    # --- collect: T steps of N computers
    seen = torch.zeros(T, N, *obs.shape[1:], dtype=obs.dtype, device=device)
    actions = torch.zeros(T, N, dtype=torch.long, device=device)
    logs, values, rewards, ends = (torch.zeros(T, N, device=device) for _ in range(4))
    for t in range(T):
        with torch.no_grad():
            chance, values[t] = policy(obs)
        seen[t], actions[t] = obs, chance.sample()
        logs[t] = chance.log_prob(actions[t])
        obs, reward, terminated, truncated, info = envs.step(actions[t])
        rewards[t], ends[t] = (
            reward,
            (terminated | truncated).float(),
        )  # a time limit counts as an end: episodes are short
        running += rewards[t]
        finished += running[ends[t] > 0].tolist()
        running *= 1 - ends[t]

    # --- advantages, from the last step backwards
    with torch.no_grad():
        following = policy(obs)[1]
    advantages, last = torch.zeros_like(rewards), torch.zeros(N, device=device)
    for t in reversed(range(T)):
        error = rewards[t] + GAMMA * (1 - ends[t]) * following - values[t]
        advantages[t] = last = error + GAMMA * LAMBDA * (1 - ends[t]) * last
        following = values[t]
    targets = (advantages + values).flatten()

    # --- learn
    flat = seen.flatten(0, 1), actions.flatten(), logs.flatten(), advantages.flatten(), targets
    for _ in range(EPOCHS):
        for chosen in torch.randperm(T * N, device=device).chunk(MINIBATCHES):
            s, a, old, advantage, target = (part[chosen] for part in flat)
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            chance, value = policy(s)
            ratio = (chance.log_prob(a) - old).exp()
            gain = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).mean()
            loss = -gain + 0.5 * (value - target).square().mean() - ENTROPY * chance.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimizer.step()

    recent = finished[-100:]
    speed = update * T * N / (time.perf_counter() - start)
    mean = sum(recent) / max(1, len(recent))
    print(f"{update * T * N:8d} steps on {device}, {speed:.0f} per second: mean return {mean:.3f} of {len(recent)}")
envs.close()
