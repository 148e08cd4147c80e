"""The step `python -m export reel --out firmware_config/reel`: render the reel, or parts of it.

Parsed options flow in; pictures, masks, their truth and the scripts flow out into a folder. What
was not asked for stays as it is.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from export.rendering import images
from export.rendering.reel import render, story
from export.rendering.reel.stills import Still, stills


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the step its options."""
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write, e.g. firmware_config/reel"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="only this picture (metal_can, hand_2)",
    )
    parser.add_argument("--samples", type=int, default=64, help="rays for each pixel (default 64)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the renderer (default 1)")
    parser.add_argument("--jobs", type=int, default=0, help="threads (default: one for each core)")
    parser.add_argument("--scripts", action="store_true", help="write the YAML files only")


def run(options: argparse.Namespace) -> int:
    """Render what is asked for; returns the exit code, 2 where there is no such picture."""
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    chosen = [s for s in stills() if not options.only or s.name.rsplit("/", 1)[-1] in options.only]
    missing = set(options.only) - {s.name.rsplit("/", 1)[-1] for s in chosen}
    if missing:
        _say(f"no such picture: {', '.join(sorted(missing))}")
        return 2
    if not options.scripts:
        _render(options, chosen)
    story.write_truth(out)
    story.write_scripts(out)
    total = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    _say(f"{out}: {total / 1e6:.2f} MB")
    return 0


def _render(options: argparse.Namespace, chosen: list[Still]) -> None:
    """Render the pictures, and the masks of what lies in them."""
    began = time.monotonic()
    _say(f"mitsuba {images.variant()}, {len(chosen)} pictures, {options.samples} samples")
    if options.jobs:
        import drjit

        drjit.set_thread_count(options.jobs)
    for k, still in enumerate(chosen, 1):
        samples = options.samples * still.effort
        light = render.radiance(still.build(), still.lamp, samples, options.seed)
        img = render.developed(*light)
        if still.name == "covered":
            img = render.covered(img)
        images.save_jpeg(img, options.out / f"{still.name}.jpg")
        for n, build in enumerate(still.masked):
            file = story.mask_file(still.name, n, len(still.masked))
            images.save_mask(render.mask_of(build()), options.out / file)
        _say(f"{k:3}/{len(chosen)} {still.name} ({time.monotonic() - began:.0f} s)")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
