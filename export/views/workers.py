"""Work on many things at once, in processes of their own.

Nobody is ended by a signal: what is under way when something fails is waited for, and what was not
begun is left.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from export.errors import ExportError

Input = TypeVar("Input")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Input], Result],
    inputs: Sequence[Input],
    *,
    processes: int | None = None,
    chunk: int = 1,
    start: Callable[[int], object] = cv2.setNumThreads,
    threads: int = 1,
) -> Iterator[Result]:
    """The results of a picklable function, one after another; what it raises is raised here.

    function: to call. inputs: what it is called with, picklable too; `chunk` of them are handed
    over at once. processes: how many; None for as many as there are cores. start: called first in
    each process, with `threads`, which it may use. Raises ExportError where a process was killed.
    """
    # TensorFlow's threads do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    count = processes or os.cpu_count()
    try:
        with ProcessPoolExecutor(count, spawn, initializer=start, initargs=(threads,)) as pool:
            yield from pool.map(function, inputs, chunksize=chunk)
    except BrokenProcessPool as error:
        raise ExportError(
            "a process was killed, perhaps for want of memory; run this step again, which goes on "
            "where it was"
        ) from error
