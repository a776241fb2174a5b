"""Opens the lab of a test: the one that `--lab` means, with what the test needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from hanlab.errors import HanlabError, UsageError
from hanlab.hil.lab import Lab
from hanlab.hil.needs import Needs, lab_with, lacks, read_needs
from hanlab.hil.source import Source, find_source
from hanlab.lab.config import LabConfig, make_lab
from hanlab.lab.facade import Lab as Facade
from hanlab.lab.state import state_folder

_SOURCE: Final = pytest.StashKey[Source]()
MARK: Final = "hanlab"
CAPTURE: Final = "han.pcap"


def source_of(config: pytest.Config) -> Source:
    """The lab of this run.

    Raises:
        pytest.UsageError: there is none of that name, or it cannot be read.
    """
    if _SOURCE not in config.stash:
        project = config.getini("hanlab_lab")
        file = config.rootpath / project if project else None
        option = config.getoption("hanlab_lab", None)
        try:
            config.stash[_SOURCE] = find_source(option, file, config.getoption("hanlab_uf2", None))
        except UsageError as e:
            where = f"--lab {option}" if option else "hanlab_lab"
            raise pytest.UsageError(f"{where}: {e}") from None
    return config.stash[_SOURCE]


def needs_of(item: pytest.Item) -> Needs:
    """What a test's marks and its Device Models say."""
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    models = {n: v for n, v in params.items() if n in ("ppmid", "comms_hub")}
    return read_needs([models, *(mark.kwargs for mark in item.iter_markers(MARK))])


def refuse(config: pytest.Config, needs: Needs) -> LabConfig:
    """The lab of this run with what the test needs; if it cannot have that, the test is skipped."""
    __tracebackhide__ = True
    source = source_of(config)
    if source.skip:
        pytest.skip(source.skip)
    is_real = source.file is not None
    seed = config.getoption("hanlab_seed", None)
    try:
        lab = make_lab(source.name, lab_with(source.data, needs, seed, is_real=is_real))
        reason = lacks(lab, needs)
    except UsageError as error:
        if not is_real:
            raise error.with_traceback(None) from None
        reason = error.what  # such as of a real wire, which nobody can spoil
    if reason:
        pytest.skip(f"{reason} (lab {source.option or source.name})")
    return lab


def opened(config: pytest.Config, needs: Needs, folder: Path) -> Iterator[Lab]:
    """The lab, for as long as the fixture lasts; `folder` is the test's own.

    Real boards keep what they know of a lab, so its state is where it always is: beside its lab.toml.
    """
    __tracebackhide__ = True
    lab = refuse(config, needs)
    file = source_of(config).file
    heard = not all(home.hub.wired for home in lab.homes)
    try:
        facade = Facade(
            lab,
            state_folder(file, lab) if file else folder / "lab",
            pcap=folder / CAPTURE if heard else None,
        )
    except HanlabError as error:
        raise error.with_traceback(None) from None
    try:
        yield Lab(facade, folder)
    finally:
        facade.close()
