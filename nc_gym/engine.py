"""N computers at one task: what the single and the vector environment have in common.

The engine has two operations, ``step`` (which never resets) and ``reset`` (of chosen rows), on top of the same two of a
machine. It adds what is not the machine's: the reader, the task, what an action types, observations and infos.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from nc_gym.actions import EventActions, slot_words
from nc_gym.frames import BANNER_HEIGHT, as_text, draw_frame, draw_line, text_chars
from nc_gym.inputs import Event, as_array
from nc_gym.machines.machine import Machine
from nc_gym.opening import Options, open_actions, open_machine, shared_computer, start_events
from nc_gym.tasks import BANNER_COLUMNS, HOLD, Episode

if TYPE_CHECKING:
    from nc_gym.computer.computer import NeuralComputer
    from nc_gym.computer.state import RuntimeState

NO_CURSOR = 255  # stands in "chars" observations for the row and column of a cursor that no cell shows


@dataclass
class EngineState:
    """Everything one row is: its machine's runtime state, its task, its counters. Made by ``Engine.snapshot``."""

    machine: RuntimeState
    episode: Episode
    after: Event
    action: str
    reward: float
    total: float
    steps: int


class Engine:
    """Steps, reads and judges N computers.

    Args:
        options: which environment on which machine.
        num_rows: N.
        machine: the machine to use instead of opening one (a fork has one already).

    Attributes:
        actions: what an action types.
        steps: steps of each row's episode, int64 (N,).
        episodes: each row's goal and progress.
        restarted: whether a real computer (or a desktop's program) died or hung in the row's last step, bool (N,).
            What runs there now is a fresh one, without boot and setup: the episode is over.
    """

    def __init__(self, options: Options, num_rows: int, machine: Machine | None = None) -> None:
        self.options = options
        self.num_rows = num_rows
        self.task = options.environment.task
        self.actions = open_actions(options)
        self.machine = machine or open_machine(options, num_rows)
        self._inputs = self.task.kind.inputs
        self._reader = self.task.kind.reader(num_rows, self.machine.screen_shape)
        self._starts = start_events(options)
        self.steps = np.zeros(num_rows, np.int64)
        self.episodes = [Episode(self.task.sample(0, options.split)) for _ in range(num_rows)]
        self._after: list[Event] = [self._inputs.first] * num_rows  # the last event of each row
        self._names = [self.actions.name(self.actions.idle(self._inputs.first))] * num_rows  # of the last actions
        self._rewards, self._totals = np.zeros((2, num_rows))
        self.restarted, self._audits = np.zeros((2, num_rows), np.bool_)
        height, width, _ = self.machine.screen_shape
        self._banner_chars = np.full((num_rows, BANNER_COLUMNS), ord(" "), np.uint8)
        self._banners = np.zeros((num_rows, BANNER_HEIGHT, width, 3), np.uint8)
        self._screens = np.zeros((num_rows, height, width, 3), np.uint8)
        self._chars = np.zeros((num_rows, self._reader.rows, self._reader.columns), np.uint8)
        self._cursors = np.full((num_rows, 2), -1, np.int64)
        self._codec = shared_computer(options) if options.obs == "latent" else None
        self._banner_latents: NDArray[np.float32] | None = None

    @property
    def observation_space(self) -> spaces.Box:
        """The space of one row's observation."""
        height, width, _ = self.machine.screen_shape
        if self.options.obs == "screen":
            return spaces.Box(0, 255, (height + BANNER_HEIGHT, width, 3), np.uint8)
        if self.options.obs == "chars":
            return self.chars_space
        assert self._codec is not None
        config = self._codec.config
        tiles = config.num_tiles + BANNER_HEIGHT // config.tile_height * config.tile_columns
        return spaces.Box(-np.inf, np.inf, (tiles, config.latent_dim), np.float32)

    @property
    def device(self) -> str:
        """Where the machine's screens are made, as torch names it."""
        return str(shared_computer(self.options).device) if self.options.machine == "neural" else "cpu"

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Starts a new episode in the rows where ``rows`` (N,) is true, all of it drawn from their ``seeds`` (N,)."""
        goals = {int(row): self.task.sample(int(seeds[row]), self.options.split) for row in np.flatnonzero(rows)}
        starts = np.array([goals[row].start if row in goals else 0 for row in range(self.num_rows)], np.int64)
        self.machine.reset(rows, seeds, starts)
        for row, goal in goals.items():
            self._after[row] = [self._inputs.first, *self._starts[goal.start]][-1]
            self._names[row] = self.actions.name(self.idle(row))
        self._look()
        for row, goal in goals.items():
            self.episodes[row] = self.task.begin(goal, self._reader.view(row))
        for counter in (self.steps, self._rewards, self._totals, self.restarted, self._audits):
            counter[rows] = 0
        self._draw_banners(rows)

    def step(
        self, actions: NDArray[np.int64], rows: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Takes one action in each row where ``rows`` (N,) is true and judges the screen after each of its events.

        Rows whose actions are longer than those of others go on alone; what solves a task ends the action, and so does
        the loss of the computer, whose successor is not judged.

        Returns:
            Rewards float64 (N,), 0 in the other rows; and whether each row's task is solved, bool (N,).
        """
        queues = [
            self.actions.events(actions[row], self._seen(row), self._after[row]) if rows[row] else []
            for row in range(self.num_rows)
        ]
        rewards, solved = np.zeros(self.num_rows), self.successes()
        self.restarted[rows] = False
        for turn in range(max(map(len, queues))):
            moving = np.array([turn < len(queue) for queue in queues]) & (solved | ~self.successes()) & ~self.restarted
            for row in np.flatnonzero(moving):
                self._after[row] = queues[row][turn]
            self._send(moving)
            for row in np.flatnonzero(moving & ~self.restarted):
                rewards[row] += self.task.judge(self.episodes[row], self._reader.view(int(row)))
        self._audit(self.successes() & ~solved)
        self.steps += rows
        self._totals += rewards
        for row in np.flatnonzero(rows):
            self._names[row] = self.actions.name(actions[row])
        self._rewards = np.where(rows, rewards, self._rewards)
        return rewards, self.successes()

    def _send(self, rows: NDArray[np.bool_]) -> None:
        """Sends the events ``_after`` of ``rows`` (N,) and reads the screens."""
        self.machine.step(as_array(self._after), rows)
        if self.options.machine == "real":
            self.restarted |= self.machine.restarted()  # type: ignore[attr-defined]
            for row in np.flatnonzero(self.restarted & rows):
                self._after[row] = self._inputs.first  # a fresh computer has its pointer where it begins
        self._look()

    def _audit(self, rows: NDArray[np.bool_]) -> None:
        """Checks what the screens of ``rows`` (N,), just solved, say against the true state of a real machine."""
        if self.options.machine == "real" and self.options.audit:
            for row in np.flatnonzero(rows):
                goal = self.episodes[row].goal
                self._audits[row] = self.task.kind.audit(self.machine, int(row), goal.success, goal.audit)

    def _seen(self, row: int) -> list[str]:
        """Returns the words that a row's agent can type because it sees them; keys need none."""
        if isinstance(self.actions, EventActions):
            return []
        return slot_words(self.episodes[row].goal.instruction, self._chars[row], int(self._cursors[row, 0]))

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns which actions are allowed in each row, bool (N, actions)."""
        return np.stack([self.actions.mask(self._seen(row)) for row in range(self.num_rows)])

    def encode(self, text: str, row: int) -> list[Any]:
        """Returns the actions that type ``text`` in a row as it is now; see ``nc_gym.actions``."""
        return self.actions.encode(text, self._seen(row), self._after[row])

    def idle(self, row: int) -> Any:
        """Returns the action that does nothing in a row as it is now."""
        return self.actions.idle(self._after[row])

    def action_name(self, row: int) -> str:
        """Returns what people call a row's last action."""
        return self._names[row]

    def pointer(self, x: int, y: int, button: str) -> Any:
        """Returns the action that points at pixel (x, y), with a button event by name."""
        return self.actions.point(button, f"{x} {y}")

    def successes(self) -> NDArray[np.bool_]:
        """Tells which rows have solved their task, bool (N,)."""
        return np.array([episode.success for episode in self.episodes], np.bool_)

    def _look(self) -> None:
        self._screens = self.machine.screens()
        self._chars, cursors = self._reader.read(self._screens)
        self._cursors = cursors if self._inputs.sees_cursor else self._inputs.cursors(as_array(self._after))

    def _draw_banners(self, rows: NDArray[np.bool_]) -> None:
        for row in np.flatnonzero(rows):
            self._banner_chars[row] = text_chars(self.episodes[row].goal.instruction, BANNER_COLUMNS)
            self._banners[row] = draw_line(self._banner_chars[row])
        if self._codec is not None:
            self._banner_latents = self._encode_banners(self._codec)

    def _encode_banners(self, codec: NeuralComputer) -> NDArray[np.float32]:
        """Encodes the banners as the top line of otherwise black screens: a tile's latent depends on nothing else."""
        screens = np.zeros_like(self._screens)
        screens[:, :BANNER_HEIGHT] = self._banners
        count = BANNER_HEIGHT // codec.config.tile_height * codec.config.tile_columns
        return _encode(codec, screens)[:, :count]

    def observations(self) -> NDArray[Any]:
        """Returns a fresh array of all rows' observations; see ``observation_space``."""
        if self.options.obs == "screen":
            return np.concatenate([self._banners, self._screens], axis=1)
        if self.options.obs == "chars":
            screens = self._chars.reshape(self.num_rows, -1)
            cursors = np.where(self._cursors < 0, NO_CURSOR, self._cursors).astype(np.uint8)
            return np.concatenate([self._banner_chars, screens, cursors], axis=1)
        assert self._codec is not None and self._banner_latents is not None
        neural = self.options.machine == "neural"
        latents = self.machine.latents() if neural else _encode(self._codec, self._screens)  # type: ignore[attr-defined]
        return np.concatenate([self._banner_latents, latents], axis=1)

    @property
    def chars_space(self) -> spaces.Box:
        """The space of ``obs="chars"``: banner, screen and cursor as character codes."""
        return spaces.Box(0, 255, (BANNER_COLUMNS + self._reader.rows * self._reader.columns + 2,), np.uint8)

    def infos(self) -> dict[str, NDArray[Any]]:
        """Returns fresh arrays of all rows' infos by key; see ``nc_gym.env.ComputerInfo``."""
        infos: dict[str, NDArray[Any]] = {
            "chars": self._chars.copy(),
            "cursor": self._cursors.copy(),
            "instruction": np.array([episode.goal.instruction for episode in self.episodes], object),
            "is_success": self.successes(),
            "action_mask": self.action_masks().astype(np.int8),
        }
        if self.options.machine == "neural":
            infos["damage"] = self.machine.damage()  # type: ignore[attr-defined]
        else:
            infos["restarted"] = self.restarted.copy()
            if self.options.audit:
                infos["audit"] = self._audits.copy()
        return infos

    def frame(self, row: int) -> NDArray[np.uint8]:
        """Draws a row for people: instruction, screen, and the last action, reward and return, uint8 (H, W, 3)."""
        name, reward, total = self._names[row], self._rewards[row], self._totals[row]
        status = f"{self.steps[row]:4d} {name:9} reward {reward:.2f} return {total:.2f}"
        return draw_frame(self._banners[row], self._screens[row], status)

    def text(self, row: int) -> str:
        """Returns a row's instruction and screen as lines of text."""
        return as_text(self._banner_chars[row], self._chars[row])

    def oracle(self, row: int) -> list[Any]:
        """Returns the actions that solve a row's task from its start; empty for free use.

        Raises:
            ValueError: the card does not say how to solve the task with words.
        """
        goal = self.episodes[row].goal
        if not goal.success:
            return []
        if isinstance(self.actions, EventActions):
            return [self.actions.action(event) for event in goal.script]
        if not goal.words:
            preset = self._inputs.preset
            raise ValueError(f'{self.options.task} has no oracle_words; make it with actions="{preset}"')
        return [*map(self.actions.index, goal.words), *[0] * (HOLD - 1)]

    def snapshot(self, row: int) -> EngineState:
        """Returns a copy of everything that a row is.

        Raises:
            NotImplementedError: the machine is real.
        """
        self._require_neural("snapshot")
        machine = self.machine.snapshot(np.arange(self.num_rows) == row)  # type: ignore[attr-defined]
        counters = (float(self._rewards[row]), float(self._totals[row]), int(self.steps[row]))
        return EngineState(machine, copy.deepcopy(self.episodes[row]), self._after[row], self._names[row], *counters)

    def restore(self, row: int, state: EngineState) -> None:
        """Makes a row what it was when ``state`` was taken.

        Raises:
            NotImplementedError: the machine is real.
        """
        self._require_neural("restore")
        self.machine.restore(np.arange(self.num_rows) == row, state.machine)  # type: ignore[attr-defined]
        self._set_row(row, state)
        self._draw_banners(np.arange(self.num_rows) == row)
        self._look()

    def _set_row(self, row: int, state: EngineState) -> None:
        self.episodes[row] = copy.deepcopy(state.episode)
        self._after[row], self._names[row], self._rewards[row] = state.after, state.action, state.reward
        self._totals[row], self.steps[row] = state.total, state.steps

    def fork(self, row: int, num_rows: int) -> Engine:
        """Returns a new engine whose ``num_rows`` rows all continue from ``row`` of this one.

        Raises:
            NotImplementedError: the machine is real.
        """
        self._require_neural("fork")
        state = self.snapshot(row)
        other = Engine(self.options, num_rows, self.machine.fork(row, num_rows))  # type: ignore[attr-defined]
        for i in range(num_rows):
            other._set_row(i, state)
        other._draw_banners(np.ones(num_rows, np.bool_))
        other._look()
        return other

    def _require_neural(self, what: str) -> None:
        if self.options.machine != "neural":
            raise NotImplementedError(
                f"a real computer cannot {what}: its processes are not ours to copy; "
                'make the environment with machine="neural"'
            )

    def close(self) -> None:
        """Closes the machine; safe to call twice."""
        self.machine.close()


def _encode(codec: NeuralComputer, screens: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Encodes screens uint8 (N, H, W, 3) as latents float32 (N, tiles, d)."""
    import torch

    with torch.inference_mode():
        latents = codec.encode(torch.from_numpy(screens))
    return latents.float().cpu().numpy().copy()
