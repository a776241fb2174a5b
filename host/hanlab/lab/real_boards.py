"""A lab's real boards: a serial port each, and the wall clock."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from hanlab.keys import LabKeys
from hanlab.lab.config import LabConfig
from hanlab.wan.serial_port import SerialPort

T = TypeVar("T")


class RealBoards:
    """Those boards of `config` that have a port; `ports` are their WAN links.

    Raises:
        UsageError: a port cannot be opened.
    """

    def __init__(self, config: LabConfig, keys: LabKeys) -> None:
        self.config = config
        self.keys = keys
        self.entropy: random.Random = random.SystemRandom()
        """What the host's nonces come from."""
        self.ports: dict[str, SerialPort] = {}
        self._began = time.monotonic_ns()
        self._runner = asyncio.Runner()
        try:
            for node in config.nodes:
                if node.port:
                    self.ports[node.name] = SerialPort(
                        node.port,
                        node.baud,
                        self._runner.get_loop(),
                        flow_control=node.board.uart.flow_control,
                    )
        except BaseException:
            self.close()
            raise

    @property
    def clock_us(self) -> int:
        """Since the lab was opened."""
        return (time.monotonic_ns() - self._began) // 1000

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._runner.get_loop()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end."""
        return self._runner.run(main)

    def close(self) -> None:
        """The boards stay on."""
        for port in self.ports.values():
            port.close()
        self._runner.close()
