"""What waits for a listener has been committed."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest
from desk import ESME, SUPPLIER, furnished

from hanlab.dsp import alerts
from hanlab.duis.responses import DccAlert, DeviceStatusChanged, Response


class _Watched:
    """The database's lock; whoever waits for it lets the one who has it go on."""

    def __init__(self, lock: Any, waiting: threading.Event) -> None:
        self._lock = lock
        self._waiting = waiting

    def __enter__(self) -> None:
        self._waiting.set()
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def test_what_another_thread_may_yet_take_back_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    office = furnished()
    begun, waiting = threading.Event(), threading.Event()
    body = DccAlert("N29", DeviceStatusChanged(ESME, alerts.STATUS_CHANGES[alerts.RESTORED.code]))

    def take_back() -> None:
        with suppress(RuntimeError), office.database.transaction():
            office.dsp.deliveries.put(
                SUPPLIER, Response("I0", office.dsp.parts.clock(), body=body), ESME
            )
            begun.set()
            waiting.wait(60)
            raise RuntimeError

    before = office.dsp.deliveries.waiting_for(SUPPLIER)
    other = threading.Thread(target=take_back)
    other.start()
    begun.wait(60)
    lock = office.database._one_at_a_time
    monkeypatch.setattr(office.database, "_one_at_a_time", _Watched(lock, waiting))
    try:
        assert office.dsp.deliveries.waiting_for(SUPPLIER) == before
    finally:
        waiting.set()
        other.join()
