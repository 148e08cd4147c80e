"""``python -m export reel --out firmware_config/reel``: render the reel, or parts of it, and write
its scripts.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def _arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(
        prog="python -m export.rendering.reel", description="Render the project's own demo footage."
    )
    p.add_argument(
        "--out", type=Path, required=True, help="folder to write, e.g. firmware_config/reel"
    )
    p.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="only this picture (metal_can, hand_2)",
    )
    p.add_argument("--samples", type=int, default=64, help="rays for each pixel (default 64)")
    p.add_argument("--seed", type=int, default=1, help="seed of the renderer (default 1)")
    p.add_argument("--jobs", type=int, default=0, help="threads (default: one for each core)")
    p.add_argument("--scripts", action="store_true", help="write the YAML files only")
    return p.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Render what was asked for; pictures that were not asked for stay as they are."""
    args = _arguments()
    from export.rendering.reel import render, story
    from export.rendering.reel.stills import stills

    args.out.mkdir(parents=True, exist_ok=True)
    chosen = [s for s in stills() if not args.only or s.name.rsplit("/", 1)[-1] in args.only]
    missing = set(args.only) - {s.name.rsplit("/", 1)[-1] for s in chosen}
    if missing:
        _say(f"no such picture: {', '.join(sorted(missing))}")
        return 2
    if not args.scripts:
        began = time.monotonic()
        _say(f"mitsuba {render.variant()}, {len(chosen)} pictures, {args.samples} samples")
        if args.jobs:
            import drjit

            drjit.set_thread_count(args.jobs)
        for k, still in enumerate(chosen, 1):
            samples = args.samples * still.effort
            img = render.developed(*render.radiance(still.build(), still.lamp, samples, args.seed))
            if still.name == "covered":
                img = render.covered(img)
            render.save_jpeg(img, args.out / f"{still.name}.jpg")
            for n, build in enumerate(still.masked):
                mask = render.mask_of(build())
                render.save_mask(mask, args.out / story.mask_file(still.name, n, len(still.masked)))
            _say(f"{k:3}/{len(chosen)} {still.name} ({time.monotonic() - began:.0f} s)")
    story.write_truth(args.out)
    story.write_scripts(args.out)
    total = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    _say(f"{args.out}: {total / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
