"""What a test file says in a line: the Device Models that its tests run with, the lab that they share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest

from hanlab.boards.data import load_model, model_names

if TYPE_CHECKING:
    from hanlab.hil.lab import Lab

Scope = Literal["class", "module", "package", "session"]


def ppmid_models(*models: str) -> pytest.MarkDecorator:
    """The test once with each of these Device Models as the PPMID; without any, with every PPMID there is.

    An emulated PPMID plays it; where it is real, the cases of other Device Models are skipped.
    """
    return _each("ppmid", models, "PPMID")


def hub_models(*models: str) -> pytest.MarkDecorator:
    """The same for the CH."""
    return _each("comms_hub", models, "CHF")


def _each(fixture: str, models: tuple[str, ...], device_type: str) -> pytest.MarkDecorator:
    every = [n for n in model_names() if load_model(n).device_type == device_type]
    return pytest.mark.parametrize(fixture, models or every, indirect=True)


def shared_lab(scope: Scope = "module", **needs: Any) -> Any:
    """`lab = shared_lab("module")` in a test file: its tests have one lab, which each finds as the last one left it.

    `needs` are those of `@pytest.mark.hanlab`; a test that needs another lab is skipped.
    """

    @pytest.fixture(scope=scope, name="lab")
    def lab(
        request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Lab]:
        from hanlab.hil.needs import read_needs
        from hanlab.hil.opening import opened

        folder = tmp_path_factory.mktemp("lab")
        yield from opened(request.config, read_needs([needs]), folder)

    return lab
