"""What policies make of observations: features extractors and policies for Stable-Baselines3.

``obs="chars"``: ``CopyingPolicy`` with ``CHARS_POLICY`` reads characters off the screen and votes for the keys that
type them. ``obs="latent"``: ``LatentExtractor`` attends to the tiles' latents. Pixels need SB3's own ``CnnPolicy``.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from nc_gym.machines import desktop_events
from nc_gym.machines.keys import KEY_INDEX, KEYS
from nc_gym.machines.terminal import COLUMNS, ROWS

GLYPHS = 96  # printable ASCII and the replacement box


class CharsExtractor(BaseFeaturesExtractor):
    """Features of ``obs="chars"``: what stands left of the cursor, and characters that attention reads off the screen.

    Each read head names a row and a distance from the cursor's column by a query made from the text left of the cursor,
    and returns how likely it saw each character there: 96 numbers that a policy can copy to the keyboard.

    Args:
        observation_space: ``Box(0, 255, (522,), uint8)``.
        width: size of the embeddings; the text left of the cursor gets four times as many features.
        heads: number of read heads.
        window: how many characters left of the cursor are looked at.
    """

    def __init__(self, observation_space: spaces.Box, width: int = 32, heads: int = 4, window: int = 12) -> None:
        expected = ((ROWS + 1) * COLUMNS + 2,)
        if observation_space.shape != expected:
            raise ValueError(f'observations have shape {observation_space.shape}, not {expected}; use obs="chars"')
        super().__init__(observation_space, features_dim=width * 4 + heads * GLYPHS)
        self.heads, self.window, self.width = heads, window, width
        self.characters = nn.Embedding(GLYPHS, width)
        self.columns = nn.Embedding(COLUMNS + 1, width)  # the last one stands for a cursor that is nowhere
        self.local = nn.Sequential(nn.Linear(window * width + width, width * 4), nn.LayerNorm(width * 4), nn.ReLU())
        self.query = nn.Linear(width * 4, heads * width)
        self.row_keys = nn.Parameter(torch.randn(ROWS + 1, width) / width**0.5)
        self.distance_keys = nn.Parameter(torch.randn(2 * COLUMNS - 1, width) / width**0.5)
        self.row_bias = nn.Parameter(torch.zeros(ROWS + 1))
        nn.init.constant_(self.row_bias[:1], 4.0)  # at birth the heads read the instruction

    def forward(self, observations: Tensor) -> Tensor:
        """Returns features float (B, features_dim) of observations (B, 522)."""
        codes = observations.long()
        cells = (codes[:, :-2] - 32).clamp(0, GLYPHS - 1)  # (B, 520), banner first
        row, column = codes[:, -2].clamp(max=ROWS - 1), codes[:, -1].clamp(max=COLUMNS)
        local = self._local(cells, row, column)  # (B, 4 width)
        return torch.cat([local, self._read(cells, column.clamp(max=COLUMNS - 1), local)], 1)

    def _local(self, cells: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Returns features of the characters left of the cursor and of its column, float (B, 4 width)."""
        end = (row + 1) * COLUMNS + column.clamp(max=COLUMNS - 1)
        offsets = torch.arange(-self.window, 0, device=cells.device)
        left = cells.gather(1, end[:, None] + offsets)  # (B, window); the banner lies before the first row
        embedded = torch.cat([self.characters(left).flatten(1), self.columns(column)], 1)
        return self.local(embedded)

    def _read(self, cells: Tensor, column: Tensor, local: Tensor) -> Tensor:
        """Returns how much of each character each head saw, float (B, heads * 96)."""
        query = self.query(local).view(-1, self.heads, self.width)
        distance = torch.arange(COLUMNS, device=cells.device) - column[:, None] + COLUMNS - 1  # (B, 40)
        distance = distance[:, None].expand(-1, self.heads, -1)
        across = (query @ self.distance_keys.T).gather(2, distance)  # (B, heads, 40)
        down = query @ self.row_keys.T + self.row_bias  # (B, heads, 13)
        share = down.softmax(2)[..., :, None] * across.softmax(2)[..., None, :]  # (B, heads, 13, 40)
        seen = torch.zeros(*query.shape[:2], GLYPHS, device=cells.device)
        index = cells[:, None].expand(-1, self.heads, -1)
        return seen.scatter_add(2, index, share.flatten(2)).flatten(1)


class DesktopExtractor(BaseFeaturesExtractor):
    """Features of a desktop's ``obs="chars"``: the letters of the banner, and a convolution over the 60x80 points.

    Args:
        observation_space: ``Box(0, 255, (4842,), uint8)``.
        width: size of the embeddings of letters; banner and screen get sixteen times as many features each.
    """

    def __init__(self, observation_space: spaces.Box, width: int = 8) -> None:
        super().__init__(observation_space, features_dim=2 * 16 * width)
        self.characters = nn.Embedding(GLYPHS, width)
        self.banner = nn.Sequential(nn.Flatten(), nn.Linear(COLUMNS * width, 16 * width), nn.ReLU())
        self.screen = nn.Sequential(
            nn.Conv2d(width, 16, (4, 8), stride=4), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.ReLU(), nn.Flatten(),
            nn.LazyLinear(16 * width), nn.ReLU(),
        )  # fmt: skip
        with torch.no_grad():
            self.screen(torch.zeros(1, width, desktop_events.ROWS, desktop_events.COLUMNS))  # makes the lazy layer

    def forward(self, observations: Tensor) -> Tensor:
        """Returns features float (B, features_dim) of observations (B, 4842)."""
        letters = self.characters((observations[:, :-2].long() - 32).clamp(0, GLYPHS - 1))  # (B, 4840, width)
        points = letters[:, COLUMNS:].unflatten(1, (desktop_events.ROWS, desktop_events.COLUMNS)).permute(0, 3, 1, 2)
        return torch.cat([self.banner(letters[:, :COLUMNS]), self.screen(points)], 1)


def chars_extractor(observation_space: spaces.Box) -> BaseFeaturesExtractor:
    """Returns the features extractor for ``obs="chars"`` of a terminal or of a desktop."""
    points = desktop_events.ROWS * desktop_events.COLUMNS
    desktop = observation_space.shape == (COLUMNS + points + 2,)
    return DesktopExtractor(observation_space) if desktop else CharsExtractor(observation_space)


CHARS_POLICY: dict[str, Any] = {"features_extractor_class": chars_extractor, "net_arch": {"pi": [], "vf": [64]}}
"""``policy_kwargs`` for ``obs="chars"``: the actor is linear in the extractor's features, so that it can copy."""


def teach_copying(policy: ActorCriticPolicy | MaskableActorCriticPolicy, strength: float = 4.0) -> None:
    """Makes a new ``CHARS_POLICY`` policy able to copy: each read head votes for the key that types what it sees.

    Which places to read, and when to copy, is left to learning. Without this, each letter is discovered by chance.

    Args:
        policy: ``model.policy`` of a new model, changed in place.
        strength: the weight of a head's vote, in logits. Blanks get none: they are everywhere.
    """
    extractor, actor = policy.features_extractor, policy.action_net
    if not isinstance(extractor, CharsExtractor) or not isinstance(actor, nn.Linear):
        raise TypeError(
            f"the policy extracts features by {type(extractor).__name__}; make it with policy_kwargs=CHARS_POLICY"
        )
    if not types_keys(policy):
        raise TypeError(
            f'the policy acts by {policy.action_space}, not by keys; make the environment with actions="keys"'
        )
    first = extractor.features_dim - extractor.heads * GLYPHS
    with torch.no_grad():
        for head in range(extractor.heads):
            for glyph in range(1, GLYPHS - 1):
                actor.weight[KEY_INDEX[chr(32 + glyph)], first + head * GLYPHS + glyph] = strength


def types_keys(policy: BasePolicy) -> bool:
    """Tells whether each action of a policy is one key."""
    space = policy.action_space
    return isinstance(space, spaces.Discrete) and int(space.n) == len(KEYS)


class CopyingPolicy(ActorCriticPolicy):
    """PPO's policy, born able to copy (``teach_copying``); use it with ``policy_kwargs=CHARS_POLICY``.

    With ``actions="words"`` an action types what stands on the screen by itself, and there is nothing to teach.
    """

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        if types_keys(self):
            teach_copying(self)


class MaskableCopyingPolicy(MaskableActorCriticPolicy):
    """MaskablePPO's policy, born able to copy; use it with ``policy_kwargs=CHARS_POLICY``."""

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        if types_keys(self):
            teach_copying(self)


class LatentExtractor(BaseFeaturesExtractor):
    """Features of ``obs="latent"``: learned questions look at all tiles twice.

    The first look can find the cursor, the second, knowing that, what stands beside it or what the banner asks for.

    Args:
        observation_space: ``Box(-inf, inf, (tiles, d), float32)``; the tiles are rows of 40, of a desktop of 80, the
            banner first.
        width: size of the embeddings.
        questions: number of learned questions; each gives ``width`` features.
        heads: attention heads.
    """

    def __init__(self, observation_space: spaces.Box, width: int = 64, questions: int = 8, heads: int = 4) -> None:
        shape = observation_space.shape
        if len(shape) != 2 or shape[0] % COLUMNS:
            raise ValueError(f'observations have shape {shape}, not (rows of {COLUMNS} tiles, d); use obs="latent"')
        columns = desktop_events.COLUMNS if shape[0] > desktop_events.ROWS * desktop_events.COLUMNS else COLUMNS
        super().__init__(observation_space, features_dim=questions * width)
        self.tile = nn.Sequential(nn.Linear(shape[1], width), nn.ReLU(), nn.Linear(width, width))
        self.rows = nn.Parameter(torch.randn(shape[0] // columns, 1, width) / width**0.5)
        self.columns = nn.Parameter(torch.randn(1, columns, width) / width**0.5)
        self.questions = nn.Parameter(torch.randn(questions, width))
        self.looks = nn.ModuleList([nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(2)])
        self.thoughts = nn.ModuleList(
            [nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU()) for _ in range(2)]
        )

    def forward(self, observations: Tensor) -> Tensor:
        """Returns features float (B, questions * width) of observations (B, tiles, d)."""
        places = (self.rows + self.columns).flatten(0, 1)  # (tiles, width)
        tiles = self.tile(observations) + places
        answers = self.questions.expand(len(observations), -1, -1)
        for look, thought in zip(self.looks, self.thoughts, strict=True):
            seen, _ = look(answers, tiles, tiles, need_weights=False)
            answers = answers + seen
            answers = answers + thought(answers)
        return answers.flatten(1)


LATENT_POLICY: dict[str, Any] = {"features_extractor_class": LatentExtractor, "net_arch": {"pi": [64], "vf": [64]}}
"""``policy_kwargs`` for ``obs="latent"``."""
