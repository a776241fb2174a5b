"""SMP messages: requests and answers both ways, and no octets that a board may answer upset the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from smp import message as smp
from smpclient.requests.image_management import ImageUploadWrite
from smpclient.requests.os_management import MCUMgrParametersRead, MemoryPoolStatisticsRead

from hanlab.wan import messages
from hanlab.wan.answers import offset, parsed
from hanlab.wan.errors import Refused, WanError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
BY_TYPE: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(0, (1 << 64) - 1),
    str: TEXT,
    bytes: st.binary(max_size=40),
    bool: st.booleans(),
    type(None): st.none(),
}


def kinds(*bases: type) -> list[Any]:
    """The classes of hanlab.wan.messages with such a base."""
    found = [kind for kind in vars(messages).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, bases)]


REQUESTS = kinds(smp.ReadRequest, smp.WriteRequest)
ANSWERS = kinds(smp.ReadResponse, smp.WriteResponse)
Message = (smp.Request, smp.Response)
OWN_FIELDS = {"header", "version", "sequence", "smp_data"}


def of_type(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a message's field."""
    if annotation in BY_TYPE:
        return BY_TYPE[annotation]
    arguments = [of_type(a) for a in getattr(annotation, "__args__", ())]
    origin = getattr(annotation, "__origin__", None)
    if origin is list:
        return st.lists(arguments[0], max_size=3)
    if origin is dict:
        return st.dictionaries(arguments[0], arguments[1], max_size=3)
    if arguments:  # a union
        return st.one_of(arguments)
    assert issubclass(annotation, BaseModel), annotation
    return fields_of(annotation).map(lambda fields: annotation(**fields))


def fields_of(kind: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Fields that make such a message."""
    return st.fixed_dictionaries(
        {
            name: of_type(field.annotation)
            for name, field in kind.model_fields.items()
            if not (issubclass(kind, Message) and name in OWN_FIELDS)
        }
    )


def plain(message: Any) -> dict[str, Any]:
    return dict(message.model_dump(exclude={*OWN_FIELDS}))


@pytest.mark.parametrize("kind", [*REQUESTS, *ANSWERS], ids=lambda kind: kind.__name__)
@settings(max_examples=settings().max_examples // 5)  # of each kind
@given(st.data(), st.integers(0, 255))
def test_both_ways(kind: Any, data: st.DataObject, sequence: int) -> None:
    message = kind(sequence=sequence, **data.draw(fields_of(kind)))
    again = kind.loads(message.BYTES)
    assert plain(again) == plain(message)
    assert again.header == message.header
    assert message.header.sequence == sequence


NUMBER = st.integers(-(1 << 64), (1 << 64) - 1)
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT | st.binary(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | NUMBER, inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted(
    {"rc", "err", "group", "off", "match", *OWN_FIELDS}
    | {name for kind in ANSWERS for name in kind.model_fields}
)
BODY = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), ODD, max_size=6).map(cbor2.dumps),
    st.dictionaries(
        st.sampled_from(["rc", "err"]), st.dictionaries(st.sampled_from(["group", "rc"]), ODD)
    ).map(cbor2.dumps),
    ODD.map(cbor2.dumps),
    st.builds(
        lambda key, number, odd: (
            b"\xa1" + cbor2.dumps(key) + cbor2.dumps(cbor2.CBORTag(number, odd))
        ),
        st.sampled_from(KEYS),
        st.sampled_from([0, 2, 4, 30, 35, 36, 258]) | st.integers(0, 300),
        ODD,
    ),
    st.binary(max_size=40),
)
HEADER = st.binary(min_size=8, max_size=8)
CLIENTS = [*REQUESTS, MCUMgrParametersRead, MemoryPoolStatisticsRead, ImageUploadWrite]


@contextmanager
def suppress_on_one_line(kind: type[Exception]) -> Iterator[None]:
    """The CLI prints an error on one line."""
    try:
        yield
    except kind as e:
        if "\n" in str(e):
            raise


@given(st.data(), st.sampled_from(CLIENTS), HEADER | st.none(), BODY)
def test_any_answer(data: st.DataObject, kind: Any, header: bytes | None, body: bytes) -> None:
    """An answer of the request's own kind, or WanError (Refused is one)."""
    required = {name: field for name, field in kind.model_fields.items() if field.is_required()}
    request = kind(sequence=1, **{n: data.draw(of_type(f.annotation)) for n, f in required.items()})
    if header is None:
        own = request.BYTES[:8]
        header = bytes([own[0] | 1, 0, *len(body).to_bytes(2), *own[4:8]])
    with suppress_on_one_line(WanError):
        assert isinstance(parsed(request, header + body), request._Response)
    with suppress_on_one_line(WanError):
        assert 0 <= offset(header + body, 1000) <= 1000


def answered(body: Any) -> bytes:
    """The octets of an answer to an upload."""
    return bytes([3, 0, 0, 0, 0, 1, 1, 1]) + cbor2.dumps(body)


@pytest.mark.parametrize("number", [0, 2, 30, 35, 258])
def test_an_answer_with_a_tag_anywhere_is_none(number: int) -> None:
    """Also where the message itself would pass over it."""
    tag = cbor2.CBORTag(number, "x")
    for body in ({"off": 4, "more": tag}, {"off": 4, "more": [{"x": tag}]}):
        with pytest.raises(WanError, match="tags"):
            offset(answered(body), 1000)
    assert offset(answered({"off": 4, "more": "\xc2" * 30, "raw": b"\xc2" * 300}), 1000) == 4


def test_where_an_upload_goes_on_lies_in_its_image() -> None:
    assert [offset(answered({"off": off}), 1000) for off in (0, 1000)] == [0, 1000]
    for off in (-1, 1001, "4", None):
        with pytest.raises(WanError, match="has the offset"):
            offset(answered({"off": off}), 1000)


@pytest.mark.parametrize("error", [{"rc": 7}, {"err": {"group": 0, "rc": 7}}])
def test_both_versions_of_smp_refuse(error: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        offset(answered({"off": 4, **error}), 1000)
    assert (refused.value.group, refused.value.rc) == (0, 7)
