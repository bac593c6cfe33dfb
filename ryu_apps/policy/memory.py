"""What a large policy leaves behind when it has been read and proved: given back to the system."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def settle() -> None:
    """For the start of a long life: what is here now stays, and what was needed to make it goes."""
    gc.collect()
    gc.freeze()  # modules and policy: no need to look through them for cycles again and again
    give_back()


def give_back() -> None:
    """Takes up to a tenth of a second after a large policy; other threads run meanwhile."""
    with suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)
