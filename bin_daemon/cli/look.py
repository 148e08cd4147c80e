"""`classify`, `replay` and `events`: what the bin sees, and what it saw."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon.cli import common
from bin_daemon.core.errors import PictureError, UsageError
from bin_daemon.core.messages import Alert, Outcome, SortEvent, stamp, to_json

if TYPE_CHECKING:
    from bin_daemon.camera import Camera
    from bin_daemon.config.sections import Config
    from bin_daemon.core.messages import Image
    from bin_daemon.explain.stills import Instances
    from bin_daemon.model.classifier import Classifier


def add_commands(commands: common.Commands) -> None:
    """Add this family to the command line."""
    shared = ("--config", "--state", *common.MODEL, "--no-taught")
    classify = commands.add_parser("classify", help="say what is on pictures")
    classify.add_argument("pictures", nargs="+", type=Path, metavar="IMAGE")
    words = "the empty chamber: the item is cut out and its colour corrected by it"
    classify.add_argument("--empty", type=Path, metavar="PICTURE", help=words)
    words = "draw what was seen: a picture file, or a folder for several"
    classify.add_argument("--overlay", type=Path, metavar="OUT", help=words)
    words = "with --overlay: heat where the class was seen"
    classify.add_argument("--why", action="store_true", help=words)
    common.set_up(classify, run_classify, *shared, json="one object a line")

    replay = commands.add_parser(
        "replay", help="run the sort cycle on recorded frames, or pictures shown one by one"
    )
    replay.add_argument("source", type=Path, metavar="FOLDER|CLIP|SCRIPT")
    replay.add_argument("--fast", action="store_true", help="as fast as the processor allows")
    words = "FOLDER: each picture is an item, held N frames"
    replay.add_argument("--hold", type=int, metavar="N", help=words)
    words = "with --hold: the empty chamber; else the median of the pictures"
    replay.add_argument("--empty", type=Path, metavar="PICTURE", help=words)
    common.set_up(replay, run_replay, *shared, json="one event a line")

    events = commands.add_parser("events", help="list what was sorted")
    events.add_argument("--limit", type=int, default=20, metavar="N", help="newest N (20)")
    common.set_up(events, run_events, "--state", json="one event a line, oldest first")


def run_classify(options: argparse.Namespace) -> int:
    """Classify each picture; one that cannot be read is reported, and the others go on."""
    from bin_daemon.core.images import read_picture
    from bin_daemon.explain.stills import look_at
    from bin_daemon.sorting.policy import policy_of

    config = common.config_of(options)
    empty = read_picture(options.empty) if options.empty else None
    pictures = common.pictures_in(options.pictures, options.empty)
    classifier = common.classifier_of(config, common.taught_in(options))
    policy = policy_of(config, classifier)
    draw = _drawing(options, config, pictures, classifier)
    failed = False
    with common.progress("classifying") as progress:
        for number, path in enumerate(pictures, start=1):
            progress(f"picture {number} of {len(pictures)}")
            try:
                image = read_picture(path)
                seen = look_at(image, empty, config.chamber, classifier, policy)
                if seen is None:
                    raise PictureError(f"{path}: shows nothing but the empty chamber")
            except PictureError as error:
                print(f"bin-daemon: {error}", file=sys.stderr)
                failed = True
                continue
            draw(path, image, seen)
            _print_classified(path, seen, options)
    return int(failed)


def _drawing(
    options: argparse.Namespace, config: Config, pictures: list[Path], classifier: Classifier
) -> Callable[[Path, Image, Instances], None]:
    """What draws a picture as `--overlay` and `--why` ask for."""
    if options.overlay is None:
        if options.why:
            raise UsageError("--why is drawn on the overlay; give --overlay OUT too")
        return lambda path, image, seen: None
    from bin_daemon.explain import overlay
    from bin_daemon.explain.saliency import Saliency

    package, runtime = classifier.package, config.model.runtime
    saliency = Saliency(package, runtime, classifier.head) if options.why else None
    targets = overlay.targets(options.overlay, pictures, options.empty)

    def draw(path: Path, image: Image, seen: Instances) -> None:
        maps = [saliency.look(thing.crop) for thing in seen.things] if saliency else []
        overlay.write_picture(targets[path], overlay.draw(image, seen, maps))

    return draw


def _print_classified(path: Path, seen: Instances, options: argparse.Namespace) -> None:
    prediction, decision = seen.whole.prediction, seen.whole.decision
    if options.json:
        from bin_daemon.explain.stills import plain

        probabilities = prediction.probabilities.tolist()
        line = {
            "file": str(path),
            "label": prediction.label,
            "confidence": prediction.confidence,
            "probabilities": dict(zip(prediction.labels, probabilities, strict=True)),
            "route": decision.route,
            "reason": decision.reason,
            "timings_ms": prediction.timings_ms,
        }
        if options.empty:
            line["items"] = [plain(thing) for thing in seen.things]
        print(to_json(line), flush=True)
        return
    said = f"{prediction.label} {prediction.confidence:.2f}"
    print(f"{path}: {said} -> {decision.route} ({decision.reason})", flush=True)
    for thing in seen.things if len(seen.things) > 1 else ():
        x, y, width, height = thing.box
        said = f"{thing.prediction.label} {thing.prediction.confidence:.2f}"
        where = f"{width}x{height} at {x},{y}"
        print(f"  {where}: {said}, alone -> {thing.decision.route}", flush=True)


class EventPrinter:
    """A `Recorder` that prints each event when its outcome is known."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._open: dict[str, SortEvent] = {}
        self.outcomes: Counter[str] = Counter()

    def decided(self, event: SortEvent) -> None:
        """Remember it until its outcome is known."""
        self._open[event.id] = event

    def completed(
        self, event_id: str, outcome: Outcome, finished_at: float, timings_ms: Mapping[str, float]
    ) -> None:
        """Print it with its outcome."""
        event = self._open.pop(event_id)
        event = dataclasses.replace(
            event, outcome=outcome, finished_at=finished_at, timings_ms=timings_ms
        )
        self.outcomes[outcome] += 1
        print(to_json(event) if self._as_json else event_line(event), flush=True)

    def raise_alert(self, alert: Alert) -> None:
        """Print it at once."""
        print(f"alert {alert.kind}: {alert.message}", file=sys.stderr)

    def resolve_alert(self, kind: str) -> None:
        """Print that it is over."""
        print(f"alert {kind}: over", file=sys.stderr)


def run_replay(options: argparse.Namespace) -> None:
    """Play a scene through the cycle on mock pins and print its events."""
    from bin_daemon.camera import open_camera
    from bin_daemon.camera.replay import hold_each
    from bin_daemon.core.clock import SimulatedClock, SystemClock
    from bin_daemon.core.errors import CameraFinishedError
    from bin_daemon.daemon.bin import Bin, Files

    config = _replay_config(options)
    clock = SimulatedClock() if options.fast else SystemClock()
    camera: Camera
    if options.hold:
        pictures = common.pictures_in([options.source], options.empty)
        camera = hold_each(pictures, options.empty, options.hold, clock, fps=config.camera.fps)
    else:
        camera = open_camera(config.camera, clock)
    printer, files = EventPrinter(options.json), Files(taught=common.taught_in(options))
    frames = itertools.count(1)
    with (
        common.progress("replaying") as progress,
        Bin(config, clock, printer, camera=camera, files=files) as bin_,
        contextlib.suppress(CameraFinishedError),
    ):
        while True:
            bin_.step()
            progress(f"frame {next(frames)}, {printer.outcomes.total()} items, {bin_.cycle.state}")
    outcomes = ", ".join(f"{count} {name}" for name, count in printer.outcomes.items())
    print(f"{printer.outcomes.total()} items: {outcomes or 'none seen'}", file=sys.stderr)


def _replay_config(options: argparse.Namespace) -> Config:
    if not options.source.exists():
        raise UsageError(f"{options.source}: no such folder, clip or script")
    if options.hold is not None and (options.hold < 1 or not options.source.is_dir()):
        raise UsageError("--hold: takes a folder of pictures, and at least 1 frame for each")
    if options.hold is None and options.empty:
        raise UsageError("--empty goes with --hold; a script names its own empty views")
    return common.changed(
        common.config_of(options),
        chute={"pins": "mock"},
        chamber={"reference": "learn"},
        camera={"kind": "replay", "source": str(options.source), "loop": False},
    )


def run_events(options: argparse.Namespace) -> None:
    """Print the newest events of the store, oldest of them first."""
    from bin_daemon.store.history import History

    if options.limit < 1:
        raise UsageError("--limit: give at least 1")
    path = common.looked_into(options) / "events.db"
    if not path.is_file():
        raise UsageError(f"{path}: no events yet; is --state the folder of the daemon?")
    with History(path) as history:
        for event in reversed(history.recent(options.limit)):
            print(to_json(event) if options.json else event_line(event))


def event_line(event: SortEvent) -> str:
    """An event in one line for people."""
    outcome = event.outcome or "under way"
    return (
        f"{stamp(event.decided_at)}  {event.label:<10} {event.confidence:4.2f}  "
        f"-> {event.route:<10} {outcome:<11} {event.reason}"
    )
