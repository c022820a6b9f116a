"""The whole network of a neural computer with a pointer: codec, log, scout, painter and denoiser in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nc_gym.computer.code_denoiser import CodeDenoiser
from nc_gym.computer.codec import TileCodec
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.echo import EchoHead
from nc_gym.computer.painter import Painter, TileLook
from nc_gym.computer.patch_geometry import tile_at, tiles_around
from nc_gym.computer.patch_scout import PatchScout
from nc_gym.computer.pointer_image import PointerImage
from nc_gym.computer.pointer_log import ChangeEncoder, Foresight, OutlookHead, PatchEncoder, PointerLog
from nc_gym.computer.table_head import TableHead
from nc_gym.computer.window_table import TableReader

SPRITE_SIDE = 32  # pixels


class PatchNetwork(nn.Module):
    """Everything that is trained, the codec's tables, and the pointer's images.

    Attributes:
        sprites: red, green, blue (each times opacity) and opacity of each image of the pointer, uint8 (K, 32, 32, 4).
        hots: x and y of the pixel of the image that points, int64 (K, 2).
    """

    sprites: Tensor
    hots: Tensor

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = TileCodec(config)
        shape = (config.num_sprites, SPRITE_SIDE, SPRITE_SIDE, 4)
        self.register_buffer("sprites", torch.zeros(shape, dtype=torch.uint8))
        self.register_buffer("hots", torch.zeros(config.num_sprites, 2, dtype=torch.int64))
        self.encoder = PatchEncoder(config)
        self.changes = ChangeEncoder(config)
        self.log = PointerLog(config)
        self.outlook = OutlookHead(config)
        self.table = TableHead(config)
        self.told = TableReader(config)
        self.image = PointerImage(config)
        self.scout = PatchScout(config)
        self.echo = EchoHead(config)
        self.painter = Painter(config)
        self.look = TileLook(config)
        self.denoiser = CodeDenoiser(config)
        self.foresight = Foresight(config)

    def code_odds(
        self, slots: Tensor, h: Tensor, codes: Tensor, events: Tensor, windows: Tensor, event: Tensor, place: Tensor,
        p: Tensor, t: Tensor,
    ) -> Tensor:  # fmt: skip
        """Returns the log odds (Q, K) of every code for Q tiles that are drawn.

        Args:
            slots: what ``denoiser.slot_state`` makes of the painter's state of all patches, (P, 16, w).
            h: (A, d).
            codes: framebuffers (A, patches, 16).
            events: the events themselves, (A, 4).
            windows: the window tables after them, (A, K, FIELDS).
            event: which of them each tile is drawn by, (Q,).
            place: in which patch of the screen, (Q,).
            p: in which of the P patches, (Q,).
            t: which of its tiles, (Q,).
        """
        row, column = tile_at(self.config, place, t)
        around = self.codec.code_latents[tiles_around(self.config, codes, event, row, column)]  # (Q, 27, d_z)
        return self.denoiser(self.look(slots[p, t], h, around, events, windows, event, row, column))
