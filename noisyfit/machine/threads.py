"""How many threads a fit or a prediction computes with: one for small networks, for large ones as many as there were.

Threads of OpenMP spin while they wait for each other. Beside other work one of them is often without a core, and the
others spin until it has one again; a small network waits thousands of times a second, and takes ten times as long. With
one thread it is no slower alone. What a user has set is left as it is, and what was found is there again afterwards.

OpenMP has a number for each thread that calls it, so that fits and predictions in several threads do not meet. The BLAS
of NumPy and SciPy has one for the process: the first fit sets it, and the last one puts it back.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from threadpoolctl import ThreadpoolController

__all__ = ["n_cores", "one_blas_thread", "one_thread", "threads_beside", "threads_for"]

# multiplications of a batch, forward; below it all of two cores save at most a third of a step on an idle machine, and
# cost two to nine times its time on a busy one; above, up to half, and mostly little: benchmarks/threads.py
_WORTH_THREADS = 170_000_000

_OF_OPENMP = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # torch's MKL and OpenMP follow either
_OF_BLAS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

_process = {"is_forked": False}


class _Pool(NamedTuple):
    """A number of threads that can be read and set."""

    read: Callable[[], int]
    set: Callable[[int], Any]


class _OfThread(threading.local):
    found: Sequence[int] | None = None  # numbers of OpenMP's pools around the outermost block; None outside of all


class _Blas:
    """What is known of the BLAS libraries, whose numbers of threads are those of the process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users: set[object] = set()
        self.before: list[tuple[_Pool, int]] = []  # numbers to put back


_of_thread, _blas = _OfThread(), _Blas()


def _note_fork() -> None:
    _process["is_forked"] = True
    _blas.lock, _blas.users = threading.Lock(), set()  # of threads that are not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread of OpenMP inside the block, unless the user has set how many.

    In a forked process always: OpenMP's threads do not survive a fork, and the first computation that waits for them
    would wait for ever.
    """
    pools, outer = _openmp_pools(), _of_thread.found
    n_of_torch = torch.get_num_threads()  # first of all, since torch sets OpenMP's number when a thread first asks
    is_default = outer is not None or (n_of_torch in _usual_numbers() and not _any_is_set(_OF_OPENMP))
    if not (_process["is_forked"] or is_default) or n_of_torch == 1:
        yield
        return
    try:
        _of_thread.found = [pool.read() for pool in pools] if outer is None else outer
        with _numbers(pools, [1] * len(pools)):
            yield
    finally:
        _of_thread.found = outer


@contextlib.contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """Compute with as many threads as there were before `one_thread`, where a batch is worth it.

    Parameters
    ----------
    multiplications : float
        Of one batch, forward.
    """
    found = _of_thread.found
    if found is None or multiplications < _WORTH_THREADS or _process["is_forked"]:
        yield
        return
    with _numbers(_openmp_pools(), found):
        yield


@contextlib.contextmanager
def threads_beside(n_taken: int) -> Iterator[None]:
    """Leave so many cores to another thread inside the block, where it would compute with all of them."""
    if n_taken == 0 or _any_is_set(_OF_OPENMP):
        yield
        return
    pools = _openmp_pools()
    torch.get_num_threads()  # see one_thread
    left = max(n_cores() - n_taken, 1)
    with _numbers(pools, [min(pool.read(), left) for pool in pools]):
        yield


def n_cores() -> int:
    """Give the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _numbers(pools: Sequence[_Pool], numbers: Sequence[int]) -> Iterator[None]:
    """Set numbers of threads inside the block; put back those that nobody has changed meanwhile."""
    before = [pool.read() for pool in pools]
    try:
        for pool, number in zip(pools, numbers, strict=True):
            pool.set(number)
        yield
    finally:
        for pool, number, earlier in zip(pools, numbers, before, strict=True):
            if number != earlier and pool.read() == number:
                pool.set(earlier)


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's and SciPy's products use one thread inside the block, unless the user has set how many.

    Those of a fit are many and small. The number is that of the process: products of other threads of it have one, too.
    """
    user = object()
    try:
        with _blas.lock:
            _blas.users.add(user)
            if len(_blas.users) == 1 and not _any_is_set(_OF_BLAS):
                for pool in _pools_of("blas"):
                    if (number := pool.read()) in _usual_numbers() and number > 1:
                        _blas.before.append((pool, number))
                        pool.set(1)
        yield
    finally:
        with _blas.lock:
            _blas.users.discard(user)
            while not _blas.users and _blas.before:
                pool, number = _blas.before.pop()
                if pool.read() == 1:  # nobody has changed it meanwhile
                    pool.set(number)


def _any_is_set(variables: Sequence[str]) -> bool:
    return any(os.environ.get(name) for name in variables)


@functools.cache
def _openmp_pools() -> list[_Pool]:
    """Give the pools that torch and scikit-learn compute with."""
    return [*_pools_of("openmp"), *_mkl_of_torch()]


def _pools_of(user_api: str) -> list[_Pool]:
    libraries = ThreadpoolController().select(user_api=user_api).lib_controllers
    return [_Pool(library.get_num_threads, library.set_num_threads) for library in libraries]


def _mkl_of_torch() -> list[_Pool]:
    """Give the number of torch's own MKL, for this thread: 0 where it follows OpenMP's.

    It does not once `torch.set_num_threads` has been called, even with the number that there was.
    """
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        exchange = library.MKL_Set_Num_Threads_Local  # gives the number before
    except (OSError, AttributeError):  # another system, or a torch without it
        return []

    def read() -> int:
        number = int(exchange(0))
        exchange(number)
        return number

    return [_Pool(read, exchange)]


@functools.cache
def _usual_numbers() -> frozenset[int]:
    """Give the numbers of threads that libraries begin with: one for each core, or one for each two that are one."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset({n_cores(), len({_siblings(core) for core in os.sched_getaffinity(0)})})
    return frozenset({n_cores(), psutil.cpu_count(logical=False) or 1, _N_AT_IMPORT})


def _siblings(core: int) -> str:
    """Name the hyperthreads of a core."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(core)


_N_AT_IMPORT = torch.get_num_threads()  # on Apple's processors one for each fast core, which only torch knows
