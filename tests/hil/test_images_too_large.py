"""Images that are too large for the CH: it refuses at once, or fails on the way; nothing of it stays."""

from __future__ import annotations

import pytest

from hanlab.hil import CommsHub, Device

STORE = 24_576


def in_a_store_that(size_behaviour: str) -> pytest.MarkDecorator:
    return pytest.mark.hanlab(comms_hub={"store": STORE, "size_behaviour": size_behaviour})


def is_too_large(ppmid: Device, comms_hub: CommsHub, outcome: str) -> None:
    """And what fits is taken afterwards."""
    large = ppmid.new_image(STORE)
    assert "24,576 B" in ppmid.update(large, expect=outcome).why
    comms_hub.assert_store(used=0)
    fits = ppmid.new_image(STORE // 2)
    ppmid.update(fits)
    comms_hub.assert_store(versions=[fits.version])


@in_a_store_that("refuse")
def test_refused_before_the_first_octet(ppmid: Device, comms_hub: CommsHub) -> None:
    is_too_large(ppmid, comms_hub, "too-large")
    comms_hub.assert_event("stored", times=1)


@in_a_store_that("overflow")
def test_failed_in_mid_transfer(ppmid: Device, comms_hub: CommsHub) -> None:
    is_too_large(ppmid, comms_hub, "overflow")


@in_a_store_that("truncate")
def test_cut_and_seen_by_its_hash(ppmid: Device, comms_hub: CommsHub) -> None:
    is_too_large(ppmid, comms_hub, "truncated")


@in_a_store_that("silent")
def test_no_more_answer(ppmid: Device, comms_hub: CommsHub) -> None:
    is_too_large(ppmid, comms_hub, "silent")
