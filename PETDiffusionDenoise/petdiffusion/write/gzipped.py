"""A gzip file made by several threads: one stream, as any program reads it.

Each part is compressed by itself, with the end of the part before it as dictionary, and ends at a whole byte, so that
the parts follow one another as if one compressor had written them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..threads import at_once, workers

PART = 4 << 20
HISTORY = 32 << 10
"""Bytes that a compressor looks back."""
LEVEL = 1
"""Noise hardly gets smaller by more work."""
HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
"""Deflate, no name and no time in it: the same image gives the same file."""


END = b"\x03\0"
"""An empty last block."""


def write(data: bytes | memoryview, file: Path) -> None:
    data = memoryview(data)
    with file.open("wb") as stream:
        stream.write(HEADER)
        for packed in _parts(data, last=True):
            stream.write(packed)
        stream.write(struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF))


def write_all(buffers: Iterable[memoryview], file: Path) -> None:
    """Of data that come one after the other and are never in memory together."""
    crc = size = 0
    with file.open("wb") as stream:
        stream.write(HEADER)
        for data in buffers:
            for packed in _parts(data, last=False):
                stream.write(packed)
            crc, size = zlib.crc32(data, crc), size + len(data)
        stream.write(END)
        stream.write(struct.pack("<II", crc, size & 0xFFFFFFFF))


def _parts(data: memoryview, last: bool) -> Iterator[bytes]:
    starts = range(0, max(len(data), 1), PART)
    together = 4 * workers()  # so many parts are in memory at once
    for first in range(0, len(starts), together):
        yield from at_once(lambda start: _packed(data, start, last), starts[first : first + together])


def _packed(data: memoryview, start: int, last: bool) -> bytes:
    """`last`: nothing follows these data, so that their last part is the stream's."""
    history = {"zdict": data[max(start - HISTORY, 0) : start]} if start else {}
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, **history)
    ends = last and start + PART >= len(data)
    return packer.compress(data[start : start + PART]) + packer.flush(zlib.Z_FINISH if ends else zlib.Z_SYNC_FLUSH)
