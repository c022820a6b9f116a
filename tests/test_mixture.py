"""A tile's odds are those of all its sources together, copies and drawing."""

from __future__ import annotations

import torch

from nc_gym.computer.mixture import Mixture, mix
from nc_gym.computer.painter import BACKED, DRAW, EARLIER, ECHO, KEEP, MOVE, OTHER_EARLIER, RECALLS, SOURCES, Paint

P, V, K = 40, 3, 5
COPIES = (KEEP, MOVE, EARLIER, OTHER_EARLIER, BACKED, ECHO)


def random_mixture(seed: int = 0) -> tuple[Mixture, torch.Tensor, torch.Tensor]:
    """Returns a mixture, the shares of its sources (P, 16, SOURCES) and what its copies show (P, 16, 6)."""
    g = torch.Generator().manual_seed(seed)
    paint = Paint(3 * torch.randn(P, 16, SOURCES, generator=g), torch.randn(P, RECALLS, V, generator=g), torch.empty(0))
    kept, moved, backed, echoed = (torch.randint(K + 1, (P, 16), generator=g) for _ in range(4))
    kept = kept.clamp(max=K - 1)  # the framebuffer always shows something
    versions = torch.randint(K + 1, (P, V, 16), generator=g)
    first, second = (versions[torch.arange(P), paint.recall[:, r].argmax(-1)] for r in range(RECALLS))
    shown = torch.stack([kept, moved, first, second, backed, echoed], -1)
    return mix(paint, kept, moved, backed, echoed, versions, K), paint.source.softmax(-1), shown


def likelihoods(share: torch.Tensor, shown: torch.Tensor, odds: torch.Tensor) -> torch.Tensor:
    """p(code) as its definition says, (P, 16, K)."""
    p = share[..., DRAW, None] * odds.softmax(-1)
    for place, source in enumerate(COPIES):
        p += share[..., source, None] * (shown[..., place, None] == torch.arange(K))
    return p


def test_the_odds_are_those_of_copies_and_drawing_together():
    mixture, share, shown = random_mixture()
    odds = torch.randn(P, 16, K, generator=torch.Generator().manual_seed(1))
    p, t = torch.nonzero(torch.ones(P, 16), as_tuple=True)
    log_odds = mixture.log_odds(odds[p, t], p, t)
    torch.testing.assert_close(log_odds.exp(), likelihoods(share, shown, odds)[p, t])


def test_a_drawn_code_is_settled_only_where_it_has_its_share_of_the_whole():
    mixture, share, shown = random_mixture()
    odds = 4 * torch.randn(P, 16, K, generator=torch.Generator().manual_seed(1))
    p, t = torch.nonzero(torch.ones(P, 16), as_tuple=True)
    code, settled = mixture.settled(odds[p, t], p, t, 0.6)
    likelihood = likelihoods(share, shown, odds)[p, t]
    likelihood /= likelihood.sum(-1, keepdim=True)
    assert settled.any() and (~settled).any()
    assert (likelihood[torch.arange(len(p)), code] > 0.6)[settled].all()
    assert torch.equal(likelihood.argmax(-1)[settled], code[settled])


def test_a_tile_whose_code_is_settled_has_the_likeliest_one_whatever_would_be_drawn():
    mixture, share, shown = random_mixture()
    assert mixture.open.any() and (~mixture.open).any()
    for drawn in range(K):
        odds = torch.zeros(K).index_fill(0, torch.tensor(drawn), 30.0).expand(P, 16, K)
        likeliest = likelihoods(share, shown, odds).argmax(-1)
        assert torch.equal(mixture.code[~mixture.open], likeliest[~mixture.open])


def test_a_code_that_many_weak_sources_and_drawing_agree_on_beats_the_likeliest_source():
    """As behind a word of two letters: a piece of ">" from the line above, against black by all others."""
    shares = {KEEP: 0.07, MOVE: 0.47, BACKED: 0.22, DRAW: 0.24}
    source = torch.full((1, 16, SOURCES), -30.0)
    for name, value in shares.items():
        source[..., name] = torch.tensor(value).log()
    black, mark = torch.zeros(1, 16, dtype=torch.int64), torch.ones(1, 16, dtype=torch.int64)
    paint = Paint(source, torch.zeros(1, RECALLS, V), torch.empty(0))
    mixture = mix(paint, black, mark, black, black, torch.full((1, V, 16), K), K)
    assert mixture.open.all()
    odds = torch.tensor([[9.0, 0, 0, 0, 0]])
    first = torch.zeros(1, dtype=torch.int64)
    assert mixture.log_odds(odds, first, first).argmax(-1).tolist() == [0]
