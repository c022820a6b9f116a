"""What policies see: characters and latents as features, and policies that are born copying."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from contract import assert_same
from sb3_contrib import MaskablePPO
from small_ppo import ECHO, make, ppo
from stable_baselines3 import PPO

from nc_gym.extractors import GLYPHS
from nc_gym.machines.keys import KEY_INDEX
from nc_gym.sb3 import (
    CHARS_POLICY,
    LATENT_POLICY,
    CharsExtractor,
    CharsObservation,
    CopyingPolicy,
    LatentExtractor,
    MaskableCopyingPolicy,
    teach_copying,
)


@pytest.fixture
def small(neural: dict[str, Any]) -> dict[str, Any]:
    """A neural batch whose observations are characters: cheap to learn from."""
    return neural | {"obs": "chars"}


def chars_observation(banner: str, line: str) -> torch.Tensor:
    cells = banner.ljust(40) + line.ljust(480)
    return torch.tensor([[*cells.encode(), 0, len(line)]], dtype=torch.float32)


def space() -> gym.spaces.Box:
    return gym.spaces.Box(0, 255, (522,), np.uint8)


def test_read_heads_return_distributions_over_characters() -> None:
    extractor = CharsExtractor(space(), heads=3)
    features = extractor(chars_observation("Print abc", "~$ echo "))
    seen = features[:, -3 * GLYPHS :].view(3, GLYPHS)
    assert features.shape == (1, extractor.features_dim)
    assert torch.allclose(seen.sum(1), torch.ones(3), atol=1e-5)
    assert (seen[:, [ord(c) - 32 for c in "Print abc ~$eho"]] > 0).all() and (seen[:, ord("z") - 32] == 0).all()


def test_features_depend_on_what_is_typed_and_survive_a_missing_cursor() -> None:
    extractor = CharsExtractor(space())
    one = extractor(chars_observation("Print abc", "~$ echo a"))
    assert not torch.equal(one, extractor(chars_observation("Print abc", "~$ echo b")))
    nowhere = chars_observation("Print abc", "~$ ")
    nowhere[:, -2:] = 255
    assert torch.isfinite(extractor(nowhere)).all()


def test_extractor_refuses_other_observations() -> None:
    with pytest.raises(ValueError, match=r"shape \(208, 320, 3\).*obs=\"chars\""):
        CharsExtractor(gym.spaces.Box(0, 255, (208, 320, 3), np.uint8))


def test_characters_read_from_the_info_are_the_chars_observation(options: dict[str, Any]) -> None:
    wrapped, plain = CharsObservation(gym.make(ECHO, **options)), gym.make(ECHO, obs="chars", **options)
    assert wrapped.observation_space == plain.observation_space
    assert_same(wrapped.reset(seed=3)[0], plain.reset(seed=3)[0])
    for action in wrapped.unwrapped.encode("ls\n"):
        assert_same(wrapped.step(action)[0], plain.step(action)[0])
    wrapped.close()
    plain.close()


def test_characters_of_a_desktop_can_be_read_from_the_info_too() -> None:
    with CharsObservation(gym.make("nc_gym/DesktopOpenProgram-v0", machine="real")) as env:
        obs, _ = env.reset(seed=0)
        assert obs.shape == (4842,) and env.observation_space.contains(obs)


def test_latents_of_a_desktop_have_rows_of_eighty_tiles() -> None:
    extractor = LatentExtractor(gym.spaces.Box(-np.inf, np.inf, (64 * 80, 8), np.float32), width=8, questions=2)
    assert extractor.rows.shape == (64, 1, 8) and extractor.columns.shape == (1, 80, 8)
    assert extractor(torch.zeros(1, 64 * 80, 8)).shape == (1, 16)


@pytest.mark.parametrize("algorithm, policy", [(PPO, CopyingPolicy), (MaskablePPO, MaskableCopyingPolicy)])
def test_a_copying_policy_is_born_copying_and_survives_saving(
    algorithm: Any, policy: Any, small: dict[str, Any], tmp_path: Path
) -> None:
    env = make(small)
    model = ppo(env, policy, algorithm, policy_kwargs=CHARS_POLICY)
    features = torch.zeros(1, model.policy.features_extractor.features_dim)
    features[0, -GLYPHS + ord("q") - 32] = 1.0  # the last head sees a q
    assert int(model.policy.action_net(features).argmax()) == KEY_INDEX["q"]
    model.learn(64)
    model.save(tmp_path / "p.zip")
    obs = env.reset()
    loaded = algorithm.load(tmp_path / "p.zip", device="cpu")
    assert_same(loaded.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0])
    env.close()


def test_latents_are_looked_at_from_every_tile(neural: dict[str, Any]) -> None:
    env = make(neural, obs="latent")
    model = ppo(env, policy_kwargs=LATENT_POLICY)
    model.learn(64)
    obs = torch.from_numpy(env.reset())
    extractor = model.policy.features_extractor
    features = extractor(obs)
    assert features.shape == (2, extractor.features_dim)
    for tile in (0, obs.shape[1] - 1):
        changed = obs.clone()
        changed[:, tile] += 1
        assert not torch.allclose(extractor(changed), features, atol=1e-6)
    swapped = obs.clone()
    swapped[:, [40, 41]] = obs[:, [41, 40]]
    assert not torch.allclose(extractor(swapped), features, atol=1e-6)  # where a tile stands matters
    env.close()


def test_latent_extractor_refuses_other_observations() -> None:
    with pytest.raises(ValueError, match=r"shape \(522,\).*obs=\"latent\""):
        LatentExtractor(space())


def test_taught_policy_votes_for_the_character_it_reads(small: dict[str, Any]) -> None:
    env = make(small, rows=1)
    model = ppo(env, policy_kwargs=CHARS_POLICY)
    plain = ppo(env)
    with pytest.raises(TypeError, match="policy_kwargs=CHARS_POLICY"):
        teach_copying(plain.policy)
    teach_copying(model.policy)
    features = torch.zeros(1, model.policy.features_extractor.features_dim)
    features[0, -GLYPHS + ord("q") - 32] = 1.0  # the last head sees a q
    assert int(model.policy.action_net(features).argmax()) == KEY_INDEX["q"]
    env.close()
