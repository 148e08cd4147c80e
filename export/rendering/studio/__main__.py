"""``python -m export studio --out DIR --count N``: render a set of pictures, or what of it is not
there yet.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from export.errors import ExportError
from export.rendering.studio.kinds import KINDS, instance
from export.rendering.studio.produce import is_made, make, start, write_table
from export.views.workers import in_processes


def _arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(
        prog="python -m export.rendering.studio",
        description="Render rubbish in random sorting chambers.",
    )
    p.add_argument("--out", type=Path, required=True, help="folder of the set")
    p.add_argument("--count", type=int, required=True, help="pictures in all")
    p.add_argument("--seed", type=int, default=1, help="decides every picture (default 1)")
    p.add_argument("--size", type=int, default=192, help="side in pixels (default 192)")
    p.add_argument(
        "--passes",
        type=int,
        default=2,
        help="of 8 rays for each pixel (default 2); clear things take one more",
    )
    p.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    p.add_argument("--only", choices=sorted(KINDS), action="append", help="only this kind")
    return p.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Render what is missing; write the table at the end and now and then before."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    plan = [instance(args.seed, number) for number in range(args.count)]
    wanted = [i for i in plan if not args.only or i.kind in args.only]
    missing = [i for i in wanted if not is_made(args.out, i)]
    _say(f"{len(wanted)} pictures, {len(wanted) - len(missing)} are there")
    tasks = [(args.out, item, args.seed, args.size, args.passes) for item in missing]
    began, skipped = time.monotonic(), 0
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    rendered = in_processes(make, tasks, processes=args.jobs, start=start, threads=threads)
    for k, item in enumerate(rendered, 1):
        skipped += item is None
        if k % 10 == 0 or k == len(tasks):
            each = (time.monotonic() - began) / k
            _say(f"{k}/{len(tasks)}, {each:.2f} s a picture, {skipped} out of view")
            write_table(args.out, plan, args.seed)
    write_table(args.out, plan, args.seed)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ExportError as error:
        sys.exit(f"export: {error}")
