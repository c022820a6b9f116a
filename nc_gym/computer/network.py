"""The whole network of a neural computer: codec, event log, scout and renderer in one module."""

from __future__ import annotations

from torch import nn

from nc_gym.computer.codec import TileCodec
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.event_log import EventLog
from nc_gym.computer.renderer import Foresight, Renderer, Scout


class Network(nn.Module):
    """Everything that is trained, and the codec's tables."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = TileCodec(config)
        self.log = EventLog(config)
        self.scout = Scout(config)
        self.renderer = Renderer(config)
        self.foresight = Foresight(config)
