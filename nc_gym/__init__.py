"""Neural computers as Gymnasium environments.

``import nc_gym`` registers every environment that a card in ``envs/`` declares; ``register_card`` adds your own. It
imports neither torch nor stable_baselines3: the network is loaded when the first neural environment is made.
"""

from __future__ import annotations

from nc_gym.registration import register_card, register_envs

__version__ = "0.1.0"
__all__ = ["__version__", "register_card", "register_envs"]

register_envs()
