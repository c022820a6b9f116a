"""Which synthetic user plays a session of the desktop, and how to make one by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import TypeAlias

from nc_gym.traces.desktop_clerks import AccountantUser, ClerkUser, TypistUser, WriterUser
from nc_gym.traces.desktop_errands import ArrangerUser, ErrandUser, FumblerUser, MenuUser, TidyUser, WaitingUser
from nc_gym.traces.desktop_users import GoalUser, RandomUser
from nc_gym.traces.mix import check_user, draw_user
from nc_gym.traces.words import Split

DesktopUser: TypeAlias = "GoalUser | RandomUser"
# Shards number users by their place here, and older shards are read beside newer ones: new users come last.
_MAKERS: Mapping[str, Callable[[Random, Split], DesktopUser]] = {
    "goal": GoalUser,
    "slow": partial(RandomUser, fast=False),
    "fast": partial(RandomUser, fast=True),
    "errand": ErrandUser,
    "waiting": WaitingUser,
    "clerk": ClerkUser,
    "tidy": TidyUser,
    "arranger": ArrangerUser,
    "accountant": AccountantUser,
    "typist": TypistUser,
    "writer": WriterUser,
    "menu": MenuUser,
    "fumbler": FumblerUser,
}
USERS = tuple(_MAKERS)
DEFAULT_MIX: Mapping[str, float] = {"goal": 0.8, "slow": 0.1, "fast": 0.1}


def session_user(seed: int, index: int, split: Split, users: Mapping[str, float]) -> str:
    """Returns which of ``users`` (name to share) plays session ``index`` of the recording ``seed``."""
    return draw_user("desktop user", seed, index, split, users)


def make_user(name: str, seed: int, index: int, split: Split) -> DesktopUser:
    """Returns the user ``name`` (one of ``USERS``) of a session.

    Raises:
        ValueError: there is no such user.
    """
    check_user(name, USERS)
    rng = Random(f"desktop events/{name}/{seed}/{split}/{index}")
    return _MAKERS[name](rng, split)
