"""A compressed body, inflated in pieces up to a cap. Pure."""

from __future__ import annotations

import zlib

from events import refusals

# Of the output of one call: a bomb is noticed after this much, not after all of it.
PIECE_BYTES = 64 * 1024


class Inflater:
    """Inflates gzip or deflate; refuses other encodings, broken data, and more than `limit` bytes."""

    def __init__(self, encoding: str, limit: int) -> None:
        """`encoding` is the value of Content-Encoding. Raises Refusal (415) for what is not supported."""
        name = encoding.strip().lower()
        if name not in ("gzip", "x-gzip", "deflate", "identity", ""):
            raise refusals.unsupported_encoding(encoding)
        self._name = name.removeprefix("x-")
        self._left = limit
        # 31: gzip's frame; 15: zlib's, which is what `deflate` means.
        bits = 31 if self._name == "gzip" else 15
        self._inflater = None if self._name in ("identity", "") else zlib.decompressobj(bits)

    def feed(self, data: bytes) -> bytes:
        """What `data` inflates to. Raises Refusal."""
        if self._inflater is None:
            return self._count(data)
        pieces = []
        try:
            while True:
                piece = self._inflater.decompress(data, PIECE_BYTES)
                data = self._inflater.unconsumed_tail
                pieces.append(self._count(piece))
                # A full piece may have more behind it, also when all input is used up.
                if not data and len(piece) < PIECE_BYTES:
                    break
            if self._inflater.unused_data:
                # More members or junk behind the end: official clients send neither.
                raise refusals.broken_encoding(self._name)
        except zlib.error:
            raise refusals.broken_encoding(self._name) from None
        return b"".join(pieces)

    def finish(self) -> None:
        """The body has ended. Raises Refusal where the compressed data has not."""
        if self._inflater is not None and not self._inflater.eof:
            raise refusals.broken_encoding(self._name)

    def _count(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            raise refusals.body_too_large()
        return piece
