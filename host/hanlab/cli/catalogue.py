"""`hanlab boards`: what a lab.toml can name."""

from __future__ import annotations

import json

from rich.table import Table

from hanlab.boards.data import board_names, load_board, load_model, model_names
from hanlab.cli.show import console


def show(*, as_json: bool) -> None:
    """The board types and the Device Models, with what is illustrative in them."""
    names = {name: load_board(name) for name in board_names()}
    models = {name: load_model(name) for name in model_names()}
    if as_json:
        print(
            json.dumps(
                {
                    "boards": [
                        {
                            "name": name,
                            "description": board.description,
                            "heap": board.memory.heap,
                            "filesystem": board.flash.filesystem,
                            "smp": {"size": board.smp.buf_size, "count": board.smp.buf_count},
                        }
                        for name, board in names.items()
                    ],
                    "models": [
                        {
                            "name": name,
                            "model": model.model,
                            "manufacturer": model.manufacturer,
                            "type": model.device_type,
                            "version": model.duis_version,
                            "store": model.store.capacity,
                            "illustrative": list(model.illustrative_keys()),
                        }
                        for name, model in models.items()
                    ],
                }
            )
        )
        return
    out = console()
    table = Table(title="boards", title_justify="left", box=None)
    for column in ("board", "heap", "filesystem", "erase", "UART window", "what it is"):
        table.add_column(column)
    for name, board in names.items():
        table.add_row(
            name,
            f"{board.memory.heap // 1024} KiB",
            f"{board.flash.filesystem // 1024:,} KiB",
            f"{board.flash.erase_us / 1000:.0f} ms",
            f"{board.smp.buf_count} x {board.smp.buf_size:,} B",
            board.description,
        )
    out.print(table)
    out.print()
    table = Table(title="Device Models", title_justify="left", box=None)
    for column in ("model", "type", "what it is", "version", "store", "illustrative"):
        table.add_column(column)
    for name, model in models.items():
        capacity = model.store.capacity
        table.add_row(
            name,
            model.device_type,
            f"{model.manufacturer} {model.model}",
            model.duis_version,
            "no limit" if capacity is None else f"{capacity:,} B",
            ", ".join(model.illustrative_keys()),
        )
    out.print(table)
