"""The configuration of a neural computer: its contract with the world and the sizes of its network.

Written to and read from ``config.json`` of a weights folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
    boots: tuple[tuple[Any, ...], ...] = ((),)  # the events of every boot in the bank
    denoise_steps: int = 1

    num_codes: int = 320  # size of the codec's codebook
    latent_dim: int = 32  # d_z, floats per tile
    width: int = 256  # d, of the event log
    num_layers: int = 8
    num_heads: int = 4
    num_kv_heads: int = 2
    gaze_layers: tuple[int, ...] = (1, 4)  # log layers that look at the framebuffer
    gaze_rows: int = 2  # rows of tiles in the gaze
    gaze_dim: int = 32
    group: int = 2  # tiles rendered per log token
    foresight: int = 6  # further tokens of an event whose tiles h_t names
    renderer_width: int = 256  # of what is known of a tile that is drawn
    renderer_layers: int = 3  # of a terminal's renderer
    memory_tokens: int = 2560  # the ring: about 1.6 tokens per event
    event_sizes: tuple[int, ...] = ()  # of a computer with a pointer: columns, rows, button events and keys
    patch: int = 1  # tiles along a patch's side
    versions: int = 24  # earlier states of a patch that can be shown again
    patch_width: int = 128  # e, of an encoded patch
    scout_width: int = 192
    scout_layers: int = 3
    painter_layers: int = 3
    num_sprites: int = 16  # images of the pointer
    windows: int = 4  # rows of the window table
    frame: tuple[int, int, int, int] = (0, 0, 0, 0)  # tiles of a window left, above, right and below of its box
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
    def patch_rows(self) -> int:
        """Rows of patches on the screen."""
        return self.tile_rows // self.patch

    @property
    def patch_columns(self) -> int:
        """Columns of patches on the screen."""
        return self.tile_columns // self.patch

    @property
    def num_patches(self) -> int:
        """Patches on the screen."""
        return self.patch_rows * self.patch_columns

    @property
    def num_events(self) -> int:
        """How many events there are to choose from."""
        return len(self.keys)
