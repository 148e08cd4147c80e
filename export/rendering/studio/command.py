"""The step `python -m export studio --out DIR --count N`: render a set, or what of it is missing.

Parsed options flow in; pictures, masks, empty chambers and their table flow out into a folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from export.rendering.studio.kinds import KINDS, studio_item
from export.rendering.studio.produce import is_made, make, start, write_table
from export.views.workers import in_processes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the step its options."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the set")
    parser.add_argument("--count", type=int, required=True, help="pictures in all")
    parser.add_argument("--seed", type=int, default=1, help="decides every picture (default 1)")
    parser.add_argument("--size", type=int, default=192, help="side in pixels (default 192)")
    parser.add_argument(
        "--passes",
        type=int,
        default=2,
        help="of 8 rays for each pixel (default 2); clear things take one more",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--only", choices=sorted(KINDS), action="append", help="only this kind")


def run(options: argparse.Namespace) -> int:
    """Render what is missing; write the table now and then, and at the end. Returns 0.

    Raises ExportError where there is no renderer, or a process was killed.
    """
    out, seed = options.out, options.seed
    out.mkdir(parents=True, exist_ok=True)
    plan = [studio_item(seed, number) for number in range(options.count)]
    wanted = [item for item in plan if not options.only or item.kind in options.only]
    missing = [item for item in wanted if not is_made(out, item)]
    _say(f"{len(wanted)} pictures, {len(wanted) - len(missing)} are there")
    tasks = [(out, item, seed, options.size, options.passes) for item in missing]
    began, skipped = time.monotonic(), 0
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    rendered = in_processes(make, tasks, processes=options.jobs, start=start, threads=threads)
    for k, item in enumerate(rendered, 1):
        skipped += item is None
        if k % 10 == 0 or k == len(tasks):
            each = (time.monotonic() - began) / k
            _say(f"{k}/{len(tasks)}, {each:.2f} s a picture, {skipped} out of view")
            write_table(out, plan, seed)
    write_table(out, plan, seed)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
