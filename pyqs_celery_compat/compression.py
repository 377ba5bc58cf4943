"""The ``compression`` header: names, and both directions, with a limit on what comes out.

Owns: kombu's compression names and their readers. Pure; runs in the producer and in an executor. Never lets a small message
become a large block of memory: every reader produces its output piece by piece and stops one byte past the limit.

Source: kombu's "gzip" and "zlib" both say ``application/x-gzip`` and both hold a raw zlib stream; true gzip is read as well.
zstd and brotli need a library that an extra installs.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from pyqs.errors import ConfigError, Undecodable

GZIP, BZIP2, LZMA = "application/x-gzip", "application/x-bz2", "application/x-lzma"
BROTLI, ZSTD = "application/x-brotli", "application/zstd"

#: the names that an app's settings use -> the value of the header.
ALIASES = {
    "gzip": GZIP,
    "zlib": GZIP,
    "bzip2": BZIP2,
    "bzip": BZIP2,
    "lzma": LZMA,
    "xz": LZMA,
    "brotli": BROTLI,
    "zstd": ZSTD,
    "zstandard": ZSTD,
}

#: bytes of compressed input per step where a library cannot limit its output: a zstd block of at least 4 bytes gives at
#: most 128 KiB, a brotli command of at least 3 bytes at most 16 MiB.
_ZSTD_STEP, _BROTLI_STEP = 512, 8
_PIECE = 1 << 20
#: bytes an xz dictionary may take; preset 9 needs 65 MiB.
_LZMA_MEMORY = 128 << 20


class _MissingLibraryError(Exception):
    """The library for a compression is not installed; the text names the extra."""


def decompress(data: bytes, name: str, limit: int) -> bytes:
    """Undo the compression that a header names.

    Parameters:
        data: the compressed payload.
        name: value of the ``compression`` header, a MIME type or an alias.
        limit: bytes that may come out.

    Raises:
        Undecodable: layer "compression": unknown name, broken data, over the limit, or a library that is not installed.
    """
    reader = _READERS.get(ALIASES.get(name, name))
    if reader is None:
        raise Undecodable("compression", f"unknown compression {name[:60]!r}")
    pieces, size = [], 0
    try:
        if not data:
            raise EOFError
        for piece in reader(data):
            size += len(piece)
            if size > limit:
                raise Undecodable("compression", f"more than {limit} bytes come out of {len(data)} (--max-payload)")
            pieces.append(piece)
    except (Undecodable, MemoryError):
        raise
    except _MissingLibraryError as error:
        raise Undecodable("compression", str(error)) from None
    except Exception as error:  # zlib.error, lzma.LZMAError, brotli.error, zstandard.ZstdError, OSError, EOFError
        raise Undecodable("compression", f"broken {name[:60]} data ({type(error).__name__})") from None
    return b"".join(pieces)


def compress(data: bytes, name: str) -> tuple[bytes, str]:
    """Compress a payload as kombu does.

    Parameters:
        name: an alias ("gzip") or a MIME type.

    Returns:
        the data and the value for the ``compression`` header.

    Raises:
        ConfigError: an unknown compression, or one whose library is not installed.
    """
    kind = ALIASES.get(name, name)
    try:
        writer = _WRITERS[kind]
    except KeyError:
        raise ConfigError(f"unknown compression {name!r}; known: {', '.join(sorted(ALIASES))}") from None
    try:
        return writer(data), kind
    except _MissingLibraryError as error:
        raise ConfigError(str(error)) from None


def _zlib_pieces(data: bytes) -> Iterator[bytes]:
    while data:
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: zlib or gzip, by its header
        rest = data
        while not stream.eof:
            piece = stream.decompress(rest, _PIECE)
            rest = stream.unconsumed_tail
            if not piece and not rest and not stream.eof:
                raise EOFError
            yield piece
        # Only gzip goes on with a further member; what follows a zlib stream is not ours, and kombu ignores it too.
        data = stream.unused_data if stream.unused_data[:2] == b"\x1f\x8b" else b""


def _stream_pieces(data: bytes, new: Callable[[], Any]) -> Iterator[bytes]:
    """Pieces of one or more streams after each other (the bz2 and lzma interface)."""
    while data:
        stream = new()
        piece = stream.decompress(data, _PIECE)
        while not stream.eof:
            if not piece and stream.needs_input:
                raise EOFError
            yield piece
            piece = stream.decompress(b"", _PIECE)
        yield piece
        data = stream.unused_data


def _bz2_pieces(data: bytes) -> Iterator[bytes]:
    return _stream_pieces(data, bz2.BZ2Decompressor)


def _lzma_pieces(data: bytes) -> Iterator[bytes]:
    return _stream_pieces(data, lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY))


def _brotli_pieces(data: bytes) -> Iterator[bytes]:
    stream = _brotli().Decompressor()
    if hasattr(stream, "can_accept_more_data"):  # brotli >= 1.2 limits its output itself
        piece = stream.process(data, output_buffer_limit=_PIECE)
        while piece or not stream.can_accept_more_data():
            yield piece
            piece = stream.process(b"", output_buffer_limit=_PIECE)
    else:
        for start in range(0, len(data), _BROTLI_STEP):
            yield stream.process(data[start : start + _BROTLI_STEP])
    if not stream.is_finished():
        raise EOFError


def _zstd_pieces(data: bytes) -> Iterator[bytes]:
    module = _zstd()
    if module.__name__ != "zstandard":
        yield from _stream_pieces(data, module.ZstdDecompressor)
        return
    stream = module.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    for start in range(0, len(data), _ZSTD_STEP):
        if stream.eof:
            break
        yield stream.decompress(data[start : start + _ZSTD_STEP])
    if not stream.eof:
        raise EOFError


def _brotli() -> Any:
    for name in ("brotli", "brotlicffi"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise _MissingLibraryError("brotli needs a library: pip install 'pyqs[brotli]'")


def _zstd() -> Any:
    """The first zstd library there is: Python 3.14's own, its backport, or zstandard."""
    for name in ("compression.zstd", "backports.zstd", "zstandard"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise _MissingLibraryError("zstd needs a library: pip install 'pyqs[zstd]'")


_READERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    GZIP: _zlib_pieces,
    BZIP2: _bz2_pieces,
    LZMA: _lzma_pieces,
    BROTLI: _brotli_pieces,
    ZSTD: _zstd_pieces,
}
_WRITERS: dict[str, Callable[[bytes], bytes]] = {
    GZIP: zlib.compress,
    BZIP2: bz2.compress,
    LZMA: lzma.compress,
    BROTLI: lambda data: bytes(_brotli().compress(data)),
    ZSTD: lambda data: bytes(_zstd().compress(data)),
}
