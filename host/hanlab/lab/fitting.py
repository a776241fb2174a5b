"""Does an image fit a device of a lab? All that speaks against it, at once, and what mends it.

The services find one thing at a time, each on its own side of the wire, as the real ones do. Who has
an image in front of them should hear of all before they have built, listed and pushed it three times.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hanlab.boards.clauses import Behaviour
from hanlab.dsp.cpl import Cpl, CplEntry, CplStatus
from hanlab.dsp.smi import Smi
from hanlab.images import OtaImage
from hanlab.lab.config import LabConfig
from hanlab.lab.enrolment import product
from hanlab.lab.homes import HomeConfig
from hanlab.lab.nodes import NodeConfig
from hanlab.s1sp.outcome import ServiceRequestFailed
from hanlab.s1sp.rules import holds, third_party
from hanlab.s1sp.target import Target


@dataclass(frozen=True)
class Needs:
    """What an image for a device of this lab has to have."""

    device_type: str
    manufacturer: int | None
    """The Zigbee manufacturer code that the device asks for; None: any."""
    hardware: int | None
    """Its hardware version; None: it has none that an image names."""
    for_ch: str
    """The manufacturer whose metadata its CH wants (rules 28 to 30); "" for none."""


def home_of(config: LabConfig, node: NodeConfig, smi: Smi | None) -> HomeConfig | None:
    """The home on whose HAN a device is now, by the inventory (None: a lab that has none yet); else lab.toml's."""
    known = None if node.is_hub or smi is None else smi.find(node.eui)
    if known is None:
        return config.home_of(node)
    return next((home for home in config.homes if home.hub.eui == known.hub), None)


def needs_of(node: NodeConfig, home: HomeConfig | None) -> Needs:
    """What an image for `node` has to have on that home's HAN; on none no CH wants anything."""
    model, hub = node.model, home.hub.model if home else None
    return Needs(
        model.device_type,
        model.ota.manufacturer_code if model.ota else None,
        int(model.hardware_version, 16) if model.ota else None,
        hub.update.metadata_manufacturer
        if hub and hub.update and holds(Behaviour.METADATA, hub, model)
        else "",
    )


def third_party_at(home: HomeConfig | None, node: NodeConfig) -> ServiceRequestFailed | None:
    """Why `node` gets no image at all on that home's HAN: a third-party PPMID (rule 25); None: it may get one."""
    if home is None:
        return None
    return third_party(Target(node.name, node.eui.octets, node.model), home.hub.model)


def misfits(image: OtaImage, node: NodeConfig, home: HomeConfig | None) -> list[str]:
    """Why the image is none that `node` would get and take on that home's HAN, in words; empty if it is."""
    return list(_misfits(image, needs_of(node, home), node, home.hub.model.model if home else ""))


def _misfits(image: OtaImage, needs: Needs, node: NodeConfig, hub: str) -> Iterator[str]:
    header = image.header
    if image.device_type != needs.device_type:
        kind = image.device_type or f"unknown (image type 0x{header.image_type:04X})"
        yield f"its device type is {kind}, {node.name} is a {needs.device_type}"
    if needs.manufacturer not in (None, header.manufacturer):
        yield (
            f"its manufacturer code is 0x{header.manufacturer:04X}, {node.name} asks for "
            f"0x{needs.manufacturer:04X}"
        )
    low, high = header.hardware or (0, 0xFFFF)
    if needs.hardware is not None and not low <= needs.hardware <= high:
        yield (
            f"its hardware range is 0x{low:04X} to 0x{high:04X}, {node.name} has hardware "
            f"0x{needs.hardware:04X}"
        )
    if header.destination not in (None, node.eui.octets[::-1]):
        only = (header.destination or b"")[::-1].hex("-").upper()
        yield f"it is for {only} alone (upgrade file destination), {node.name} is {node.eui}"
    has = image.metadata.ch_manufacturer if image.metadata else ""
    if needs.for_ch and has != needs.for_ch:
        yield (
            f"the CH, a {hub}, needs {needs.for_ch}'s metadata in front of the firmware, and it has "
            + (f"{has}'s" if has else "none")
        )


def listing_problem(image: OtaImage, node: NodeConfig, cpl: Cpl) -> str:
    """Why the CPL cannot list the image as it is for `node`'s Device Model; "" if it can or does."""
    hash_ = image.manufacturer_image_hash
    for other in cpl.of_product(product(node.model)):
        if other.hash == hash_ and other.version != image.version:
            return (
                f"the same firmware is on the CPL as version {other.version} already, and 11.3 names "
                "firmware by its hash alone"
            )
    entry = _entry(image, node, cpl)
    if entry is None or entry.hash == hash_:
        return ""
    return (
        f"version {image.version} of {entry.manufacturer} {entry.model} is on the CPL already with "
        + ("another hash" if entry.hash else "no hash: it came with the devices")
    )


def listed(image: OtaImage, node: NodeConfig, cpl: Cpl) -> CplStatus | None:
    """The status of this very image on the CPL for `node`'s Device Model; None: it is not there."""
    entry = _entry(image, node, cpl)
    return entry.status if entry and entry.hash == image.manufacturer_image_hash else None


def _entry(image: OtaImage, node: NodeConfig, cpl: Cpl) -> CplEntry | None:
    found = cpl.of_product(product(node.model))
    return next((e for e in found if e.version == image.version), None)


def next_version(version: str, taken: Iterable[str]) -> str:
    """The first version after `version` that is not taken: IHDAE06 is followed by IHDAE07."""
    used = set(taken)
    found = re.fullmatch(r"(.*?)(\d{1,8})", version)
    stem, digits = found.groups() if found else (version[:6], "01")
    for number in range(int(digits) + 1, int(digits) + 10_000):
        after = f"{stem}{number:0{len(digits)}}"[-8:]
        if after not in used:
            return after
    return version


def how_to_mend(image: OtaImage, node: NodeConfig, cpl: Cpl, file: Path) -> str:
    """The commands that make an image of the firmware in `file` that `node` gets, and list it.

    `--lab` in them is the lab that this is about.
    """
    version = image.version
    taken = _entry(image, node, cpl) is not None  # what is made anew has another hash
    if taken or listing_problem(image, node, cpl):
        version = next_version(version, (e.version for e in cpl.of_product(product(node.model))))
    new = str(file.with_name(f"{file.stem}-{version}.ota"))
    build = ["hanlab", "image", "build", str(file), "--lab", "--to", node.name]
    build += ["--version", version, "-o", new]
    return f"{shlex.join(build)}, then hanlab cpl add {shlex.quote(new)}, and push that"
