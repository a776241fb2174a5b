"""Property tests: the same examples each time; HYPOTHESIS_PROFILE=thorough tries many more, and new ones."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from .vm_oracle import Firmware

settings.register_profile("suite", derandomize=True, max_examples=100, deadline=None, database=None)
settings.register_profile(
    "thorough", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture(scope="session")
def firmware() -> Iterator[Firmware]:
    """The firmware, to be asked what it makes of octets."""
    with Firmware() as vm:
        yield vm
