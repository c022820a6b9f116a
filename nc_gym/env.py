"""The single environment. ``nc_gym.vector_env`` has the one that steps many computers in a batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from nc_gym.engine import Engine, EngineState
from nc_gym.opening import Options

RENDER_MODES = ("rgb_array", "ansi")
RENDER_FPS = 10


class ComputerInfo(TypedDict, total=False):
    """What ``info`` carries after every reset and step; the last three only on the machine named."""

    chars: NDArray[np.uint8]
    """Characters that the reader sees, uint8 (rows, columns): cells of a terminal, 127 for a box that is no character;
    points of a desktop's grid of 4 pixels, a space where no character begins."""
    cursor: NDArray[np.int64]
    """Row and column of the cursor, int64 (2,), (-1, -1) if a terminal shows none; on a desktop of the pointer."""
    instruction: str
    """What the banner says."""
    is_success: bool
    """Whether the task is solved."""
    action_mask: NDArray[np.int8]
    """1 for every action that does something now, int8 (actions,); of ``MultiDiscrete`` its parts in a row."""
    damage: float
    """Neural: share of the tiles that were denoised for this screen."""
    restarted: bool
    """Real: the shell, or the desktop or a program of it, died or hung in this step, which truncates the episode."""
    audit: bool
    """Real: the task is solved, and files or windows confirm what the screen showed when it was."""


@dataclass
class EnvState:
    """A snapshot of a neural environment: computer, task, counters and random generator."""

    engine: EngineState
    rng: np.random.Generator


class ComputerEnv(gym.Env[NDArray[Any], Any], EzPickle):
    r"""A computer to act in: a neural network that is the computer, or its real twin.

    ## Description
    The agent sits at a terminal of 40 columns and 12 rows, or at a desktop of 320x240 pixels with windows, a panel, a
    terminal, a calculator and an editor. By default it is a *neural computer*: a network that takes the event and
    denoises the next screen. With ``machine="real"`` the same environment runs on bash, or on an X server with a window
    manager, in a sandbox. Spaces, instructions, boots and rewards are the same on both.

    ## Action Space
    | computer | ``actions`` | space | one action is |
    |---|---|---|---|
    | terminal | ``"keys"`` | ``Discrete(106)`` | one key: none, printable ASCII from space on, Enter, Backspace, ... |
    | terminal | ``"words"`` | ``Discrete(31)`` | one word, typed as a whole |
    | desktop | ``"pointer"`` | ``MultiDiscrete([80, 60, 8, 110])`` | pointer column and row, button event, key |
    | desktop | ``"words"`` | ``Discrete(919)`` | one click, press or release on a square of 16x16 pixels, or one word |

    The pointer goes to its square of 4x4 pixels first, then the button event happens (none, left press, left release,
    left click, double click, right click, wheel up, wheel down), then the key, the terminal's or Home, End, Alt-F4,
    Alt-Tab. A drag is a press, moves, and a release.

    Words: 0 does nothing, then comes the card's list (commands, Enter, Backspace, clicks, ...), then ``instruction:0``
    to ``instruction:7``, which type that word of the banner, and on the terminal ``screen:0`` to ``screen:3``, which
    type that word of the last line above the cursor, as the reader sees it on either machine. A slot without a word is
    masked and types nothing. The screen is judged after each event; the step's reward is their sum.

    ``env.unwrapped.keys`` lists the names of keys or words, ``env.unwrapped.encode("ls\n")`` returns the actions that
    type a text, ``env.unwrapped.pointer(x, y, "left click")`` the action for a pixel and a button event by name,
    ``env.unwrapped.idle()`` the one that does nothing. ``env.unwrapped.action_masks()`` and ``info["action_mask"]``
    tell which do something now.

    ## Observation Space
    The banner is one line above the screen that shows the instruction, drawn in the same font.

    | ``obs`` | terminal | desktop | content |
    |---|---|---|---|
    | ``"screen"`` | ``(208, 320, 3)`` | ``(256, 320, 3)`` | ``Box`` of uint8 pixels: the banner (16 high), the screen |
    | ``"chars"`` | ``(522,)`` | ``(4842,)`` | ``Box`` of uint8 codes: banner 40, screen, cursor row and column |
    | ``"latent"`` | ``(520, 32)`` | ``(5120, 32)`` | ``Box`` of float32: latents of banner and screen, one per tile |

    Characters of the terminal are its 12 x 40 cells; its cursor is read from the pixels, (255, 255) where no cell shows
    one. Of the desktop they are 60 x 80, the points of a grid of 4 pixels: each has the character whose upper left
    corner it is, or a space; the cursor is row and column of the pointer, where the last event put it. For ``"latent"``
    the real machine's pixels are encoded.

    ## Rewards
    Judged from the screen alone, see ``nc_gym.tasks``. The rewards of an episode sum to a number in [0, 1]; 1 means
    solved. Free use has no reward.

    ## Starting State
    The seed draws the task's parameters; those of ``split="train"`` and ``split="test"`` have no combination in common.
    Boot 0 is a fresh prompt in an empty home, or a desktop without windows. Some tasks do a setup first, the same on
    both machines: the neural computer does it too, once per setup, and later copies the state that it led to.

    ## Episode End
    Termination: the task is solved (a step after that earns 0). Truncation: after ``max_episode_steps``, by Gymnasium's
    ``TimeLimit``; and when a real shell, or a desktop or a program of it, dies or hangs, on free use as well, which
    ``info["restarted"]`` reports. The screen is then that of a fresh computer that nothing was set up on, so it is not
    judged; ``reset`` boots it and sets it up.

    ## Info
    See :class:`ComputerInfo`; the keys are the same after every reset and step.

    ## Registered Configurations
    Declared in ``envs/terminal.toml``, from easy to hard: ``nc_gym/Terminal-v0`` (free use),
    ``nc_gym/TerminalEcho-v0``, ``nc_gym/TerminalMakeFile-v0``, ``nc_gym/TerminalMakeDir-v0``,
    ``nc_gym/TerminalRemoveFile-v0``, ``nc_gym/TerminalAdd-v0``, ``nc_gym/TerminalNavigate-v0``,
    ``nc_gym/TerminalReadFlag-v0``, ``nc_gym/TerminalRecover-v0``, ``nc_gym/TerminalCopyLine-v0``,
    ``nc_gym/TerminalChain-v0``; and in ``envs/desktop.toml``: ``nc_gym/Desktop-v0`` (free use),
    ``nc_gym/DesktopOpenProgram-v0``, ``nc_gym/DesktopCloseWindow-v0``, ``nc_gym/DesktopRaiseWindow-v0``,
    ``nc_gym/DesktopMoveWindow-v0``, ``nc_gym/DesktopCalculate-v0``, ``nc_gym/DesktopTypeInTerminal-v0``.
    ``nc_gym.register_card`` adds your own.

    ## Arguments
    Args:
        card: name of the card in ``envs/``, or the path of one (set by the registered id).
        task: id of the environment in that card (set by the registered id).
        machine: "neural" or "real".
        weights: folder of the network's weights; None takes the shipped ones.
        device: torch device of the network, "auto" chooses.
        dtype: name of the torch dtype the network computes in; None takes bfloat16 on a GPU; on a CPU
            float32 for a terminal, whose batches "bfloat16" may make faster, and the faster of both for a desktop.
        denoise_steps: denoising steps per screen; None takes the value in the weights.
        obs: "screen", "chars" or "latent".
        actions: "keys" (terminal), "pointer" (desktop) or "words"; None takes what the card says about the id.
        split: "train" or "test": which draws of the parameters.
        render_mode: None, "rgb_array" (screen magnified twice, with banner and a status line) or "ansi" (text).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # type: ignore[misc]

    def __init__(
        self,
        card: str,
        task: str,
        *,
        machine: str = "neural",
        weights: str | None = None,
        device: str = "auto",
        dtype: str | None = None,
        denoise_steps: int | None = None,
        obs: str = "screen",
        actions: str | None = None,
        split: str = "train",
        render_mode: str | None = None,
    ) -> None:
        EzPickle.__init__(
            self, card, task, machine=machine, weights=weights, device=device, dtype=dtype,
            denoise_steps=denoise_steps, obs=obs, actions=actions, split=split, render_mode=render_mode,
        )  # fmt: skip
        check_render_mode(render_mode)
        self.render_mode = render_mode
        options = Options(card, task, machine, weights, device, dtype, denoise_steps, obs, actions, split)
        self._engine = Engine(options, num_rows=1)
        self.observation_space = self._engine.observation_space
        self.action_space = copy.deepcopy(self._engine.actions.space)
        self._row = np.ones(1, np.bool_)
        self._started = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The name of each key, or of each word."""
        return self._engine.actions.names

    def encode(self, text: str) -> list[Any]:
        """Returns the actions that type ``text`` (a newline is Enter), with words that stand on the screen now.

        On a desktop the pointer stays where it is.
        """
        return self._engine.encode(text, 0)

    def pointer(self, x: int, y: int, button: str = "none") -> Any:
        """Returns the action that points at pixel (x, y), with a button event by name (desktop only).

        With ``actions="words"`` it is the word that does the same in the square of 16x16 pixels around it; the shipped
        cards have words for left clicks, presses and releases, so a button must be given.

        Raises:
            ValueError: the pixel is outside the screen, there is no such button event, or no word does it there.
        """
        return self._engine.pointer(x, y, button)

    def idle(self) -> Any:
        """Returns the action that does nothing now; on a desktop the pointer stays where it is."""
        return self._engine.idle(0)

    @property
    def last_action(self) -> str:
        """The name of the last action: of its key or word, or its button event, pixel and key."""
        return self._engine.action_name(0)

    def oracle(self) -> list[Any]:
        r"""Returns the actions that solve the current task from the start of the episode; empty for free use."""
        self._require_reset("oracle()")
        return self._engine.oracle(0)

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns which actions do something now, bool (actions,): every event, and every word that there is.

        Of a ``MultiDiscrete`` space, the masks of its parts stand one behind the other.
        """
        return self._engine.action_masks()[0]

    @property
    def chars_space(self) -> gym.spaces.Box:
        """The space of ``obs="chars"``, whatever this environment's own observations are."""
        return self._engine.chars_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Boots the computer and draws a new task.

        Args:
            seed: of the task's parameters and of the network's noise; None lets the generator go on.
            options: None or empty; there are none.

        Returns:
            The observation (``observation_space`` says shape and dtype), and the info (``ComputerInfo``).
        """
        super().reset(seed=seed)
        check_options(options, allowed=())
        self._engine.reset(self._row, np.array([draw_seed(self.np_random)]))
        self._started = True
        return self._engine.observations()[0], self._info()

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Sends one event or word and waits for the settled screen.

        Args:
            action: one of ``action_space``.

        Returns:
            Observation, reward (in [0, 1]; those of an episode sum to at most 1), whether the task is solved, whether a
            real computer was lost, and the info (``ComputerInfo``).

        Raises:
            ValueError: the action is none of ``action_space``.
            ResetNeeded: before the first ``reset``.
        """
        self._require_reset("step()")
        if not self.action_space.contains(action):
            raise ValueError(
                f"action {action!r} is not in {self.action_space}; "
                "env.unwrapped.encode(text), .pointer(x, y, button) and .keys.index(name) make actions"
            )
        rewards, solved = self._engine.step(np.array([action]), self._row)
        truncated = bool(self._engine.restarted[0])  # the time limit is Gymnasium's wrapper
        return self._engine.observations()[0], float(rewards[0]), bool(solved[0]), truncated, self._info()

    def _info(self) -> dict[str, Any]:
        return {key: first.item() if isinstance(first := values[0], np.generic) else first
                for key, values in self._engine.infos().items()}  # fmt: skip

    def _require_reset(self, what: str) -> None:
        if not self._started:
            raise gym.error.ResetNeeded(f"{what} was called before the first reset(); call env.reset() first")

    def render(self) -> Any:
        """Returns the frame, uint8 (H, W, 3), or the text of the present screen, as ``render_mode`` says."""
        self._require_reset("render()")
        if self.render_mode is None:
            gym.logger.warn('render() needs a render mode; pass render_mode="rgb_array" or "ansi" to gym.make')
            return None
        return self._engine.frame(0) if self.render_mode == "rgb_array" else self._engine.text(0)

    def snapshot(self) -> EnvState:
        """Returns a copy of the whole environment (neural machine only).

        The step count of Gymnasium's ``TimeLimit`` lies outside of it, in the wrapper.
        """
        self._require_reset("snapshot()")
        return EnvState(self._engine.snapshot(0), copy.deepcopy(self.np_random))

    def restore(self, state: EnvState) -> tuple[NDArray[Any], dict[str, Any]]:
        """Goes back to a snapshot (neural machine only) and returns observation and info as they were then."""
        self._engine.restore(0, state.engine)
        self.np_random = copy.deepcopy(state.rng)
        self._started = True
        return self._engine.observations()[0], self._info()

    def close(self) -> None:
        """Closes the machine; safe to call twice."""
        if hasattr(self, "_engine"):
            self._engine.close()

    def __del__(self) -> None:
        """Closes a forgotten environment: a real machine has processes."""
        self.close()


def check_render_mode(render_mode: str | None) -> None:
    """Raises ValueError unless ``render_mode`` is None or one of ``RENDER_MODES``."""
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise ValueError(f"render_mode={render_mode!r} is unknown; choose None, 'rgb_array' or 'ansi'")


def check_options(options: Mapping[str, Any] | None, allowed: tuple[str, ...]) -> None:
    """Raises ValueError if ``options`` has a key that is not in ``allowed``."""
    unknown = sorted(set(options or {}) - set(allowed))
    if unknown:
        known = f"the allowed ones are {', '.join(allowed)}" if allowed else "this environment takes no reset options"
        raise ValueError(f"unknown reset option {unknown[0]!r}; {known}")


def draw_seed(rng: np.random.Generator) -> int:
    """Draws the seed of one episode: task, boot and the machine's noise all come from it."""
    return int(rng.integers(2**63 - 1))
