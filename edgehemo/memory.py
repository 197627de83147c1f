"""Memory that runs out: known in whatever words it is told, and never taken for something else.

Libraries tell it each in their own way: an allocation that fails, a thread that cannot be started,
a library's file that cannot be mapped. OpenBLAS, below numpy, tells nobody and ends the process.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import resource

from edgehemo.errors import NotEnoughMemoryError

# What C and C++ libraries say, and the loader of shared libraries.
_TOLD = re.compile(
    r"bad_alloc|Cannot allocate memory|cannot map|failed to map segment|[Ii]nsufficient memory"
    r"|[Ff]ailed to allocate|[Uu]nable to allocate|[Oo]ut of memory|[Nn]ot enough memory"
    r"|[Cc]an't start new thread|pthread_create|Resource temporarily unavailable"
    r"|PosixThread|cannot allocate"
)
_NUMBERS = (errno.ENOMEM, errno.EAGAIN)
# What loading numpy and the first large product take, twice over, and a product that large.
_PRODUCT_BYTES = 160_000_000
_PRODUCT_SIDE = 600


def ran_out(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that memory ran out."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError | NotEnoughMemoryError):
            return True
        if isinstance(error, OSError):
            if error.errno in _NUMBERS:
                return True
        elif _TOLD.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def not_enough() -> NotEnoughMemoryError:
    """The error to raise or to tell where memory ran out: what to do stands in it."""
    limit = _limit()
    lift = f", lift its limit of {limit / 1e6:.0f} MB (ulimit -v)" if limit is not None else ""
    return NotEnoughMemoryError(
        f"not enough memory: close other programs{lift}, or give fewer or smaller pictures"
    )


def secure(count: int) -> None:
    """Raise NotEnoughMemoryError where this process's limit leaves less than ``count`` bytes.

    Asked before libraries that, where they get none, end the process and raise nothing. Without a
    limit of the process nothing is asked: the system hands memory out as it is written to.
    """
    if _limit() is None:
        return
    try:
        mmap.mmap(-1, count).close()
    except OSError as error:
        raise not_enough() from error


def secure_products() -> None:
    """Where this process's memory is limited, take now what OpenBLAS needs for its products.

    Asked for later and not given, it would end the process with exit code 1 and no error that
    could be caught. Raises NotEnoughMemoryError where it is not there now.
    """
    if _limit() is None:
        return
    # One that gets no memory for a thread of its own ends the process by a signal; another prints
    # a line for each thread and goes on.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
    secure(_PRODUCT_BYTES)
    try:
        # On a machine without a limit nothing waits for numpy.
        import numpy as np  # noqa: PLC0415

        side = np.ones((_PRODUCT_SIDE, _PRODUCT_SIDE), dtype=np.float32)
        side @ side
    except (OSError, MemoryError, ImportError) as error:
        if not ran_out(error):
            raise
        raise not_enough() from error


def _limit() -> int | None:
    """The most memory that this process may address, bytes; None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft
