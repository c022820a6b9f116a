"""The configuration of a neural computer: its contract with the world and the sizes of its network.

Written to and read from ``config.json`` of a weights folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class NeuralComputerConfig:
    """What a neural computer is made of.

    The first block is the contract (screen, tile, events); the second the network's size.
    """

    machine: str = "terminal"
    screen_height: int = 192
    screen_width: int = 320
    tile_height: int = 16
    tile_width: int = 8
    keys: tuple[str, ...] = ()  # the name of every event, in order
    boots: tuple[tuple[int, ...], ...] = ((),)  # the events of every boot in the bank
    denoise_steps: int = 1

    num_codes: int = 320  # size of the codec's codebook
    latent_dim: int = 32  # d_z, floats per tile
    width: int = 256  # d, of the event log
    num_layers: int = 6
    num_heads: int = 4
    num_kv_heads: int = 2
    gaze_layers: tuple[int, ...] = (1, 3)  # log layers that look at the framebuffer
    gaze_rows: int = 2  # rows of tiles in the gaze
    gaze_dim: int = 32
    group: int = 2  # tiles rendered per log token
    foresight: int = 6  # further tokens of an event whose tiles h_t must name, in training
    renderer_width: int = 256
    renderer_layers: int = 3
    memory_tokens: int = 2560  # the ring: about 1.6 tokens per event
    training: dict[str, object] = field(default_factory=dict)  # the recipe that made the weights

    def __post_init__(self) -> None:
        if self.screen_height % self.tile_height or self.screen_width % self.tile_width:
            raise ValueError(
                f"screen {self.screen_width}x{self.screen_height} is not a whole number of "
                f"{self.tile_width}x{self.tile_height} tiles; choose a tile that divides the screen"
            )

    @property
    def tile_rows(self) -> int:
        """Rows of tiles on the screen."""
        return self.screen_height // self.tile_height

    @property
    def tile_columns(self) -> int:
        """Columns of tiles on the screen."""
        return self.screen_width // self.tile_width

    @property
    def num_tiles(self) -> int:
        """Tiles on the screen."""
        return self.tile_rows * self.tile_columns

    @property
    def num_events(self) -> int:
        """How many events there are to choose from."""
        return len(self.keys)
