"""Compressed bodies: whole, broken, and those that would not end."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.inflate import PIECE_BYTES, Inflater
from events.refusals import Refusal

LIMIT = 1024 * 1024
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "": bytes,
}


def inflate(encoding: str, data: bytes, *, limit: int = LIMIT, step: int = 10_000) -> bytes:
    inflater = Inflater(encoding, limit)
    out = b"".join(inflater.feed(data[start : start + step]) for start in range(0, len(data), step))
    inflater.finish()
    return out


@given(st.sampled_from(sorted(COMPRESS)), st.binary(max_size=300), st.integers(1, 400), st.integers(1, 100))
def test_a_body_comes_out_whole_however_it_is_cut(encoding: str, seed: bytes, times: int, step: int) -> None:
    body = seed * times

    assert inflate(encoding, COMPRESS[encoding](body), step=step * 100) == body


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " x-gzip "])
def test_gzip_has_two_names_in_any_case(encoding: str) -> None:
    assert inflate(encoding, gzip.compress(b"body")) == b"body"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
@pytest.mark.parametrize(("over", "passes"), [(0, True), (1, False)])
def test_the_limit_is_exact(encoding: str, over: int, passes: bool) -> None:
    data = COMPRESS[encoding](b"x" * (LIMIT + over))

    if passes:
        assert len(inflate(encoding, data)) == LIMIT
    else:
        with pytest.raises(Refusal) as refused:
            inflate(encoding, data)
        assert refused.value.status == 413


def test_a_bomb_is_noticed_a_piece_past_the_limit() -> None:
    inflater = Inflater("gzip", LIMIT)
    counted: list[int] = []
    count = inflater._count

    def spy(piece: bytes) -> bytes:
        counted.append(len(piece))
        return count(piece)

    inflater._count = spy  # type: ignore[method-assign]

    with pytest.raises(Refusal) as refused:
        inflater.feed(gzip.compress(bytes(64 * LIMIT)))

    assert refused.value.status == 413
    assert sum(counted) <= LIMIT + PIECE_BYTES


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "aws-chunked"])
def test_another_encoding_is_refused_by_its_name(encoding: str) -> None:
    with pytest.raises(Refusal, match=encoding) as refused:
        Inflater(encoding, LIMIT)

    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", b"not compressed at all"),
        ("gzip", zlib.compress(b"body")),
        ("deflate", gzip.compress(b"body")),
        ("gzip", gzip.compress(b"body")[:-1]),
        ("deflate", zlib.compress(b"body")[:-1]),
        ("gzip", gzip.compress(b"body")[:-8] + bytes(8)),
        ("gzip", gzip.compress(b"body") + b"junk"),
        ("gzip", gzip.compress(b"body") + gzip.compress(b"member")),
        ("gzip", b""),
    ],
)
def test_a_body_that_is_not_what_its_encoding_says_is_refused(encoding: str, data: bytes) -> None:
    with pytest.raises(Refusal, match=f"not valid {encoding}") as refused:
        inflate(encoding, data)

    assert refused.value.status == 400


def test_junk_that_comes_later_is_refused_too() -> None:
    inflater = Inflater("gzip", LIMIT)
    inflater.feed(gzip.compress(b"body"))

    with pytest.raises(Refusal, match="not valid gzip"):
        inflater.feed(b"junk")


@given(st.sampled_from(["gzip", "deflate"]), st.binary(max_size=500))
def test_no_bytes_raise_anything_but_a_refusal(encoding: str, data: bytes) -> None:
    with suppress(Refusal):
        inflate(encoding, data)
