"""`hanlab demo --image`: the story of the two homes, with somebody's own image, CHs and store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hanlab.boards.data import DeviceModel, load_model, model_names
from hanlab.demos.parts import Demo, ImageSpec, Push, Scene
from hanlab.errors import UsageError
from hanlab.images import OtaImage

HUBS = ("skyline-i510", "am110r")
"""Where no CH is named."""


def own_demo(image: OtaImage, file: Path, hubs: Sequence[str], store: int | None) -> Demo:
    """11.1 of `image` through each CH (by its model's file name) to a device of the CH's own population.

    `store`: octets of each CH's image store, in place of the model's. How it ends is not known beforehand.

    Raises:
        UsageError: there is no such CH, or no Device Model of the image's type.
    """
    scenes = []
    for name in hubs or HUBS:
        if name not in model_names():
            raise UsageError(
                f"there is no Device Model {name!r}", next_step="hanlab boards names them all"
            )
        hub = load_model(name)
        if hub.device_type != "CHF":
            raise UsageError(
                f"{name} is a {hub.device_type}, no Communications Hub",
                next_step="hanlab boards names them all",
            )
        size = {} if store is None else {"store": store}
        scenes.append(
            Scene(
                (Push(ImageSpec(own=image), ""),),
                hub={"model": name, **size},
                device={"model": _device(image, hub), "name": image.device_type},
                about=f"{hub.manufacturer} {hub.model}",
            )
        )
    octets = len(image.to_bytes())
    return Demo(
        "own",
        f"{file.name}: {image.version}, {octets:,} B, in {len(scenes)} homes",
        "each with a CH and a device of its own make; the image is the same (rules 3 and 11)",
        tuple(scenes),
    )


def _device(image: OtaImage, hub: DeviceModel) -> str:
    """The model of the image's device type that belongs to the CH; else any of that type."""
    models = {n: m for n in model_names() if (m := load_model(n)).device_type == image.device_type}
    if not models or image.device_type == "CHF":
        raise UsageError(
            f"the image is for device type {image.device_type or 'unknown'}, and no device of a demo is one",
            next_step="hanlab boards shows the types; hanlab image inspect FILE what the image is for",
        )
    own = [n for n, m in models.items() if m.population == hub.population]
    return own[0] if own else next(iter(models))
