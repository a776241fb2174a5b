"""`hanlab boards`: what a lab.toml can name."""

from __future__ import annotations

import json

from rich.table import Table

from hanlab.boards.data import DeviceModel, board_names, load_board, load_model, model_names
from hanlab.cli.show import console


def show(*, as_json: bool) -> None:
    """The board types and the Device Models, with what is illustrative in them."""
    boards = {name: load_board(name) for name in board_names()}
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
                        for name, board in boards.items()
                    ],
                    "models": [
                        {
                            "name": name,
                            "model": model.model,
                            "manufacturer": model.manufacturer,
                            "type": model.device_type,
                            "version": model.duis_version,
                            "store": model.store.capacity,
                            "size_behaviour": model.store.size_behaviour,
                            "activation_steps": model.activation and model.activation.steps,
                            "illustrative": list(model.illustrative_keys()),
                        }
                        for name, model in models.items()
                    ],
                }
            )
        )
        return
    out = console()
    out.print("Boards", style="bold")
    rows = Table(box=None, pad_edge=False, show_header=False)
    for name, board in boards.items():
        flash = f"{board.flash.filesystem // 1024:,} KiB filesystem"
        window = f"UART window {board.smp.buf_count} x {board.smp.buf_size:,} B"
        rows.add_row(
            name, f"{board.memory.heap // 1024} KiB heap, {flash}, {window}\n{board.description}"
        )
    out.print(rows)
    out.print()
    out.print("Device Models", style="bold")
    rows = Table(box=None, pad_edge=False, show_header=False)
    for name, model in models.items():
        rows.add_row(name, _described(model))
    out.print(rows)
    out.print("* illustrative: no public document gives it", style="dim")


def _described(model: DeviceModel) -> str:
    """What a model is like; what hanlab chose itself is marked with a *."""
    marked = set(model.illustrative_keys())

    def fact(text: str, key: str) -> str:
        return f"{text}*" if key in marked else text

    capacity = model.store.capacity
    store = "no published limit" if capacity is None else fact(f"{capacity:,} B", "store.capacity")
    facts = [
        f"store {store}",
        f"too large: {fact(model.store.size_behaviour, 'store.size_behaviour')}",
    ]
    if model.activation:
        steps = "two-step" if model.two_step else "one-step"
        facts.append(fact(steps, "activation.steps"))
    version = fact(model.duis_version, "duis_version")
    return f"{model.device_type}, {model.manufacturer} {model.model}, {version}\n{', '.join(facts)}"
