"""Is a compressed file whole? The libraries that read images stop at the last voxel and never look at the checksum."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError

GZIPPED = (".gz", ".mgz")
PART = 1 << 20
ANY_HEADER = zlib.MAX_WBITS + 32
"""Of zlib or of gzip: MetaImage allows both."""
LONGEST_LINE = 1 << 20


def check_gzip(path: Path) -> None:
    """A file of which only parts will be read; one that is not compressed has nothing to check."""
    if path.name.lower().endswith(GZIPPED):
        with gzip.open(path) as stream:
            to_the_end(stream)


def to_the_end(stream: gzip.GzipFile) -> None:
    """gzip compares checksum and length when a reader comes to them. What else stands behind them is left alone."""
    try:
        while stream.read(PART):
            pass
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise


def check_metaimage(path: Path, expected: int) -> None:
    """`expected`: bytes of all voxels. What is in several files, or has a header of its own, is left to the library."""
    if not path.name.lower().endswith((".mha", ".mhd")):
        return
    with path.open("rb") as stream:
        fields = _fields(stream)
        data = fields.get("ElementDataFile", "")
        packed = fields.get("CompressedData", "")[:1] in ("T", "t", "1") and fields.get("HeaderSize", "0") == "0"
        if packed and data.upper() == "LOCAL":
            _check_zlib(stream, expected)
        elif packed and (path.parent / data).is_file():
            with (path.parent / data).open("rb") as apart:
                _check_zlib(apart, expected)


def _fields(stream: BinaryIO) -> dict[str, str]:
    """The header's, of which `ElementDataFile` is the last; the stream is then at the data."""
    fields: dict[str, str] = {}
    while "ElementDataFile" not in fields and (line := stream.readline(LONGEST_LINE)):
        key, _, value = line.decode("utf-8", "replace").partition("=")
        fields[key.strip()] = value.strip()
    return fields


def _check_zlib(stream: BinaryIO, expected: int) -> None:
    unpacker, size = zlib.decompressobj(ANY_HEADER), 0
    while not unpacker.eof and (part := unpacker.unconsumed_tail or stream.read(PART)):
        size += len(unpacker.decompress(part, PART))
    if not unpacker.eof or size < expected:
        raise EOFError("the file ends before the end-of-stream marker")
    if size > expected:
        raise InputError("The image", f"holds {size} bytes of voxels, and its header promises {expected}",
                         "It may be damaged: copy or export it again.")
