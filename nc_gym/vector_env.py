"""The vector environment: N computers in one batched machine."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle, seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from nc_gym.engine import Engine
from nc_gym.env import RENDER_FPS, RENDER_MODES, check_options, check_render_mode, draw_seed
from nc_gym.opening import Options, check_choice

Step = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class ComputerVectorEnv(VectorEnv[NDArray[Any], NDArray[np.int64], NDArray[Any]], EzPickle):
    """N computers stepped in one batch; made by ``gym.make_vec(id, num_envs=N)``.

    Spaces, rewards and infos are those of :class:`nc_gym.env.ComputerEnv`, batched. Row i of ``reset(seed=s)`` is the
    single environment with seed ``s + i``. The time limit is counted here, since ``make_vec`` applies no wrapper. A row
    whose real computer is lost is truncated alone; the others go on.

    Autoreset, as in Gymnasium: NEXT_STEP (a finished row boots in the next step, which ignores its action and returns
    reward 0), SAME_STEP (it boots at once; the last observation and info are in ``final_obs`` and ``final_info``),
    DISABLED (finished rows must be booted by ``reset(options={"reset_mask": rows})`` before the next step).

    Args:
        num_envs: N.
        card: name of the card (set by the registered id).
        task: id of the environment in that card (set by the registered id).
        max_episode_steps: truncates an episode after so many steps; None or -1 never does.
        autoreset_mode: an ``AutoresetMode`` or its value: "NextStep", "SameStep" or "Disabled".
        machine: "neural" or "real"; this and what follows as in ``ComputerEnv``.
        weights: folder of the network's weights.
        device: torch device of the network.
        dtype: name of the torch dtype.
        denoise_steps: denoising steps per screen.
        obs: "screen", "chars" or "latent".
        actions: "keys" (terminal), "pointer" (desktop) or "words"; None takes what the card says about the id.
        split: "train" or "test": which draws of the task's parameters.
        render_mode: None, "rgb_array" or "ansi"; ``render`` returns a tuple of N frames.
        audit: whether ``info["audit"]`` says if a real machine's files confirm a success. It takes some 20 ms each
            time, one row after the other, so that whoever learns on the real machine does without.
        output: "numpy", or "torch": observations, rewards and flags are tensors on the network's device (the CPU for a
            real machine), but for those in ``final_obs`` and ``final_info``. The reader works on the host, so a step
            waits for the device either way.
    """

    def __init__(
        self,
        num_envs: int,
        card: str,
        task: str,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        machine: str = "neural",
        weights: str | None = None,
        device: str = "auto",
        dtype: str | None = None,
        denoise_steps: int | None = None,
        obs: str = "screen",
        actions: str | None = None,
        split: str = "train",
        render_mode: str | None = None,
        audit: bool = True,
        output: str = "numpy",
    ) -> None:
        EzPickle.__init__(
            self, num_envs, card, task, max_episode_steps=max_episode_steps, autoreset_mode=autoreset_mode,
            machine=machine, weights=weights, device=device, dtype=dtype, denoise_steps=denoise_steps, obs=obs,
            actions=actions, split=split, render_mode=render_mode, audit=audit, output=output,
        )  # fmt: skip
        check_choice("output", output, ("numpy", "torch"))
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs}; choose at least 1")
        check_render_mode(render_mode)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.output = output
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.max_episode_steps = None if max_episode_steps in (None, -1) else max_episode_steps
        self.metadata = {
            "render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS, "autoreset_mode": self.autoreset_mode
        }  # fmt: skip
        options = Options(card, task, machine, weights, device, dtype, denoise_steps, obs, actions, split, audit)
        self._engine = Engine(options, num_envs)
        self.single_observation_space = self._engine.observation_space
        self.single_action_space = copy.deepcopy(self._engine.actions.space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []
        self._rng_seeds: list[int] = []
        self._done = np.zeros(num_envs, np.bool_)
        self._started = np.zeros(num_envs, np.bool_)

    @property
    def keys(self) -> tuple[str, ...]:
        """The name of each key, or of each word."""
        return self._engine.actions.names

    def encode(self, text: str, row: int = 0) -> list[Any]:
        """Returns the actions that type ``text`` (a newline is Enter), with words on the screen of ``row``."""
        return self._engine.encode(text, row)

    def pointer(self, x: int, y: int, button: str = "none") -> Any:
        """Returns the action that points at pixel (x, y), with a button event by name (desktop only)."""
        return self._engine.pointer(x, y, button)

    def idle(self) -> NDArray[np.int64]:
        """Returns, for each row, the action that does nothing now."""
        return np.array([self._engine.idle(row) for row in range(self.num_envs)], np.int64)

    def oracle(self) -> list[list[Any]]:
        """Returns, for each row, the actions that solve its current task from the start of its episode."""
        self._require_reset("oracle()")
        return [self._engine.oracle(row) for row in range(self.num_envs)]

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns which actions do something now, bool (N, actions): every event, and every word that there is."""
        return self._engine.action_masks()

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random generator of each row."""
        return tuple(self._rngs)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each row's random generator."""
        return tuple(self._rng_seeds)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Boots all rows, or those of ``options["reset_mask"]``, bool (N,).

        Args:
            seed: an int s gives row i the seed s + i; a list gives each row its own; None lets the generators go on.
            options: only "reset_mask".

        Returns:
            The observations (N, ...), and the infos by key, arrays (N,) or (N, ...).
        """
        check_options(options, allowed=("reset_mask",))
        rows = self._check_mask(options["reset_mask"]) if options and "reset_mask" in options else self._all_rows()
        if not (self._started | rows).all():
            raise gym.error.ResetNeeded("reset_mask leaves rows that never booted; call reset() without a mask first")
        self._seed_rows(seed, rows)
        self._reset_rows(rows)
        return self._put(self._engine.observations()), _pack(self._engine.infos(), rows)

    def _all_rows(self) -> NDArray[np.bool_]:
        return np.ones(self.num_envs, np.bool_)

    def _check_mask(self, mask: object) -> NDArray[np.bool_]:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            kind = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
            raise TypeError(f"options['reset_mask'] is {kind}; pass a numpy array of dtype bool")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask'] has shape {mask.shape}; pass shape ({self.num_envs},)")
        if not mask.any():
            raise ValueError("options['reset_mask'] is False everywhere; set it True for at least one row")
        return mask.copy()

    def _seed_rows(self, seed: int | Sequence[int | None] | None, rows: NDArray[np.bool_]) -> None:
        if isinstance(seed, (int, np.integer)):
            seeds: Sequence[int | None] = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = [None] * self.num_envs if seed is None else [None if s is None else int(s) for s in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} rows; pass one seed per row, or one int")
        if not self._rngs:
            pairs = [seeding.np_random(s) for s in seeds]
            self._rngs, self._rng_seeds = [rng for rng, _ in pairs], [s for _, s in pairs]
            return
        for row, row_seed in enumerate(seeds):
            if rows[row] and row_seed is not None:
                self._rngs[row], self._rng_seeds[row] = seeding.np_random(row_seed)

    def _reset_rows(self, rows: NDArray[np.bool_]) -> None:
        seeds = np.array([draw_seed(rng) if rows[i] else 0 for i, rng in enumerate(self._rngs)], np.int64)
        self._engine.reset(rows, seeds)
        self._done &= ~rows
        self._started |= rows

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Sends one event or word in each row and waits for the settled screens.

        Args:
            actions: one of ``single_action_space`` per row, int64 (N,) or (N, 4).

        Returns:
            Observations (N, ...), rewards float64 (N,), terminated bool (N,), truncated bool (N,), and the infos by
            key; with ``output="torch"`` the first four are tensors.

        Raises:
            ResetNeeded: before the first ``reset``, or rows are finished and ``autoreset_mode`` is DISABLED.
        """
        self._require_reset("step()")
        chosen = self._check_actions(actions)
        booting = self._done.copy()
        if booting.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            finished = np.flatnonzero(booting).tolist()
            raise gym.error.ResetNeeded(f"rows {finished} are finished; reset them with options={{'reset_mask': ...}}")
        rewards, solved = self._engine.step(chosen, ~booting)
        terminated = solved & ~booting
        limit = np.inf if self.max_episode_steps is None else self.max_episode_steps
        truncated = (self._engine.restarted | (self._engine.steps >= limit)) & ~booting
        if booting.any():  # NEXT_STEP
            self._reset_rows(booting)
        self._done = terminated | truncated
        final: dict[str, Any] = {}
        if self._done.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = self._pack_final(self._done)
            self._reset_rows(self._done)
        infos = _pack(self._engine.infos(), self._all_rows()) | final
        return *(self._put(x) for x in (self._engine.observations(), rewards, terminated, truncated)), infos

    def _put(self, values: NDArray[Any]) -> Any:
        """Returns ``values`` as they are, or as a tensor on the device if the output is "torch"."""
        if self.output == "numpy":
            return values
        import torch

        return torch.from_numpy(values).to(self._engine.device)

    def _check_actions(self, actions: Any) -> NDArray[np.int64]:
        chosen = np.asarray(actions.cpu() if self.output == "torch" and hasattr(actions, "cpu") else actions)
        if not np.issubdtype(chosen.dtype, np.integer) or not self.action_space.contains(chosen.astype(np.int64)):
            raise ValueError(f"actions {actions!r} are not in {self.action_space}; pass one action per row")
        return chosen.astype(np.int64)

    def _pack_final(self, rows: NDArray[np.bool_]) -> dict[str, Any]:
        """Returns the last observation and info of the rows that are about to boot, in Gymnasium's layout."""
        last = np.full(self.num_envs, None, object)
        observations = self._engine.observations()
        for row in np.flatnonzero(rows):
            last[row] = observations[row].copy()
        return {
            "final_obs": last,
            "_final_obs": rows.copy(),
            "final_info": _pack(self._engine.infos(), rows),
            "_final_info": rows.copy(),
        }

    def _require_reset(self, what: str) -> None:
        if not self._started.all():
            raise gym.error.ResetNeeded(f"{what} was called before the first reset(); call envs.reset() first")

    def render(self) -> tuple[Any, ...] | None:
        """Returns a tuple of N frames, each uint8 (H, W, 3), or of N texts, as ``render_mode`` says."""
        self._require_reset("render()")
        if self.render_mode is None:
            gym.logger.warn('render() needs a render mode; pass render_mode="rgb_array" or "ansi" to make_vec')
            return None
        draw = self._engine.frame if self.render_mode == "rgb_array" else self._engine.text
        return tuple(draw(row) for row in range(self.num_envs))

    def fork(self, row: int, num_envs: int) -> ComputerVectorEnv:
        """Returns a new environment whose ``num_envs`` rows all continue from ``row`` of this one (neural only).

        The rows are alike until their actions differ. Their later episodes differ: each gets a generator of its own,
        drawn from the generator of ``row``.
        """
        self._require_reset("fork()")
        if not 0 <= row < self.num_envs:
            raise ValueError(f"row={row}; choose one from 0 to {self.num_envs - 1}")
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs}; choose at least 1")
        other = object.__new__(type(self))  # copy.copy would make a whole environment, as EzPickle has it
        other.__dict__.update(self.__dict__)
        other._ezpickle_args = (num_envs, *self._ezpickle_args[1:])
        other._engine = self._engine.fork(row, num_envs)
        other.num_envs = num_envs
        other.metadata = dict(self.metadata)
        other.observation_space = batch_space(self.single_observation_space, num_envs)
        other.action_space = batch_space(self.single_action_space, num_envs)
        draw = copy.deepcopy(self._rngs[row])
        other._rng_seeds = [draw_seed(draw) for _ in range(num_envs)]
        other._rngs = [seeding.np_random(seed)[0] for seed in other._rng_seeds]
        other._done = np.full(num_envs, self._done[row])
        other._started = np.ones(num_envs, np.bool_)
        return other

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the machine; ``close`` calls it once."""
        self._engine.close()

    def __del__(self) -> None:
        """Closes a forgotten environment: real machines have processes."""
        if hasattr(self, "_engine"):
            self.close()


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        choices = ", ".join(repr(m.value) for m in AutoresetMode)
        raise ValueError(f"autoreset_mode={mode!r} is unknown; choose one of {choices}") from None


def _pack(infos: dict[str, NDArray[Any]], rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Puts infos in Gymnasium's vector layout: key k with the mask _k of the rows that have it, empty in the others."""
    packed: dict[str, Any] = {}
    for key, values in infos.items():
        kept = np.full(values.shape, None, object) if values.dtype == object else np.zeros_like(values)
        kept[rows] = values[rows]
        packed[key], packed[f"_{key}"] = kept, rows.copy()
    return packed
