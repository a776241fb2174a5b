"""A lab's coroutines run on its own clock: who uses one otherwise is told so at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

from hanlab.errors import UsageError

P = ParamSpec("P")
T = TypeVar("T")


class HasClock(Protocol):
    """What a lab is for its coroutines."""

    unrun: list[str]
    """Those that were made and that nobody ever ran, by their names."""

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop: ...


L = TypeVar("L", bound=HasClock)
_Method: TypeAlias = Callable[Concatenate[L, P], Coroutine[Any, Any, T]]


class LabCall(Coroutine[Any, Any, T]):
    """A coroutine of a lab's; one that goes unused leaves its name in the lab's `unrun`."""

    def __init__(self, inner: Coroutine[Any, Any, T], name: str, unrun: list[str]) -> None:
        self._inner = inner
        self.__name__ = name
        self.__qualname__ = f"lab.{name}"
        self._unrun = unrun
        self._used = False

    def send(self, value: Any) -> Any:
        self._used = True
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        self._used = True
        return self._inner.throw(*error)

    def close(self) -> None:
        self._used = True
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, T]:
        self._used = True
        return self._inner.__await__()

    def __del__(self) -> None:
        if not self._used:
            self._unrun.append(self.__name__)


def on_its_clock(method: _Method[L, P, T]) -> Callable[Concatenate[L, P], Coroutine[Any, Any, T]]:
    """A coroutine that says so at once if another loop than the lab's awaits it: no board would answer."""

    @wraps(method)
    async def checked(lab: L, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if asyncio.get_running_loop() is not lab.event_loop:
            raise UsageError(
                f"lab.{method.__name__}(…) is awaited outside of the lab, whose boards live on its own clock",
                next_step=f"lab.run(lab.{method.__name__}(…)), in plain code or in a thread",
            )
        return await method(lab, *args, **kwargs)

    @wraps(method)
    def make(lab: L, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return LabCall(checked(lab, *args, **kwargs), method.__name__, lab.unrun)

    return make


def refuse_unrun(lab: HasClock) -> None:
    """UsageError if somebody has called one of its coroutines and left it at that: nothing has happened."""
    if lab.unrun:
        name = lab.unrun[0]
        lab.unrun.clear()
        raise UsageError(
            f"lab.{name}(…) was called and never run: it is a coroutine, and nothing has happened",
            next_step=f"lab.run(lab.{name}(…))",
        )


def not_in_a_loop(what: str) -> None:
    """A lab has an event loop of its own, on its own clock, and Python runs one at a time in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        f"the lab's {what} was called by a coroutine: a lab runs its coroutines itself, on its own clock",
        next_step="use the lab in plain code with lab.run(…), or in a thread: asyncio.to_thread(…)",
    )
