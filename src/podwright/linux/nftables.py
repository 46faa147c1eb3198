"""nftables rules, by libnftables: text in nft(8)'s language, carried out as one transaction. libnftables(3).

One context is kept: its transaction takes 0.2 ms, where a fresh one and the nft program, a thin shell over the same
library, wait at their end for the kernel to free what was deleted, 3 to 10 ms (docs/decisions/0008). Debian has the
library in libnftables1, which the package nftables brings.
"""

from __future__ import annotations

import ctypes  # noqa: TID251 - this is a door, too
import functools
import threading
import weakref
from typing import Any

from podwright.base.errors import FailedPrecondition, PodwrightError

_SONAME = "libnftables.so.1"


class NftablesMissing(FailedPrecondition):
    """The library is not installed."""


class NftablesFailed(PodwrightError):
    """The kernel or the library refused; nothing was changed."""


class Nftables:
    """A context of the library, made when it is first used. Any thread may use it, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._context: int | None = None

    @property
    def available(self) -> bool:
        """Whether the library is here."""
        try:
            _library()
        except OSError:
            return False
        return True

    def apply(self, commands: str) -> str:
        """Carry out all of `commands` or none; gives what they print. Blocks: others may hold the kernel's lock.

        Raises NftablesMissing, NftablesFailed.
        """
        with self._lock:
            context = self._open()
            library = _library()
            status = library.nft_run_cmd_from_buffer(context, commands.encode())
            output, error = (
                bytes(read(context) or b"").decode(errors="replace").strip()
                for read in (library.nft_ctx_get_output_buffer, library.nft_ctx_get_error_buffer)
            )
        if status != 0:
            raise NftablesFailed(f"nftables: {error or f'status {status}'}")
        return output

    def _open(self) -> int:
        if self._context is None:
            try:
                library = _library()
            except OSError as error:
                raise NftablesMissing(f"can't load {_SONAME} ({error}): install nftables") from error
            context: int = library.nft_ctx_new(0)
            library.nft_ctx_buffer_output(context)
            library.nft_ctx_buffer_error(context)
            self._free = weakref.finalize(self, library.nft_ctx_free, context)
            self._context = context
        return self._context

    def close(self) -> None:
        """Let go of the context and its socket; the next use makes a new one."""
        with self._lock:
            if self._context is not None:
                self._free()
                self._context = None


@functools.cache
def _library() -> Any:
    library = ctypes.CDLL(_SONAME)
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    library.nft_ctx_free.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_free.restype = None
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    return library
