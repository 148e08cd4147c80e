"""`teach` by hand: items into the chamber one by one, the class of each from the keyboard.

Opens camera and chamber itself while the daemon is stopped, shows on one screen what they see, and
learns at the end. Where there is no terminal it takes lines and prints lines. What was taught is in
the store at once and stays there however the program ends.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections import Counter

from rich.console import Console

from bin_daemon.camera import Camera, open_camera
from bin_daemon.chamber.chamber import Chamber
from bin_daemon.cli import common, lessons
from bin_daemon.cli import teach_screen as screen
from bin_daemon.cli.hardware import devices
from bin_daemon.cli.keyboard import Keyboard
from bin_daemon.config.sections import Config
from bin_daemon.core import paths
from bin_daemon.core.clock import SystemClock
from bin_daemon.core.errors import BinDaemonError, CameraFinishedError, UsageError
from bin_daemon.gpio.outputs import Outputs
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base
from bin_daemon.teaching.sample_store import Samples
from bin_daemon.teaching.session import FrameViewer, ShotStore, Stage, TeachingSession


def teach_live(options: argparse.Namespace) -> int:
    """Let a person teach, then learn from all stored pictures; 1 where nothing could be learnt."""
    config, state = common.config_of(options), common.looked_into(options)
    clock = SystemClock()
    classifier = common.classifier_of(config, state)
    with Samples(paths.teaching(state), config.teaching.keep) as samples:
        before = Counter(sample.label or "" for sample in samples.list(labelled=True))
        store = ShotStore(samples, Base.of(classifier.package))
        session = _session(config, classifier, store, before)
        with devices(options, config) as factory, Outputs(config.outputs, factory) as outputs:
            outputs.light(True)
            if light := config.outputs.light:
                clock.sleep(light.warmup_s)
            with open_camera(config.camera, clock) as camera:
                chamber = Chamber(config.chamber)
                if config.chamber.reference == "saved":
                    chamber.load(state / "reference.npz")
                viewer = FrameViewer(config.chamber, chamber, classifier)
                _teach(_Bin(camera, config, viewer), session, before)
        return _learn(options, samples, classifier, store)


def _session(
    config: Config, classifier: Classifier, store: ShotStore, before: Counter[str]
) -> TeachingSession:
    def trouble(name: str) -> str:
        if name in config.route_of:
            return ""
        return f"no route takes '{name}' yet: add it to one's 'takes' before you finish"

    classes = dict.fromkeys((*classifier.labels, *sorted(before)))
    return TeachingSession(classes, store, trouble)


class _Bin:
    """Camera and viewer, a frame at a time."""

    def __init__(self, camera: Camera, config: Config, viewer: FrameViewer) -> None:
        self._camera, self._viewer = camera, viewer
        self._deadline_s = config.camera.deadline_s
        self._removed = False

    def step(self, session: TeachingSession) -> None:
        """Show the session one frame. Raises CameraFinishedError at the end of a replay."""
        usable = self._viewer.show(self._camera.capture(self._deadline_s), session)
        if usable:
            # In a replayed scene the item is taken out by the scene itself.
            removal = session.stage is Stage.REMOVAL
            self._camera.on_cycle(
                "clearing" if removal else "waiting", removal and not self._removed
            )
            self._removed = removal


def _teach(bin_: _Bin, session: TeachingSession, before: Counter[str]) -> None:
    """Frame after frame until the person has finished or the replay is over."""
    try:
        if sys.stdin.isatty() and sys.stdout.isatty():
            _on_screen(bin_, session, before)
        else:
            _by_lines(bin_, session)
    except CameraFinishedError:
        return
    except BaseException:
        if count := session.counts.total():
            print(
                f"bin-daemon: interrupted; what was named is stored (items: {count}), and "
                f"`bin-daemon teach` goes on with it",
                file=sys.stderr,
            )
        raise


def _on_screen(bin_: _Bin, session: TeachingSession, before: Counter[str]) -> None:
    console = Console(highlight=False)
    with Keyboard() as keyboard:
        keyboard.draw(screen.lines(session, before, console))  # the first frame takes a while
        while not session.done:
            bin_.step(session)
            for key in keyboard.keys(0):
                session.press(key)
            keyboard.draw(screen.lines(session, before, console))


def _by_lines(bin_: _Bin, session: TeachingSession) -> None:
    """For programs: a line names an item as soon as one is there; the end of input finishes."""
    lines = _Lines(sys.stdin.fileno())
    shown = ""
    while not session.done:
        bin_.step(session)
        _say(session)
        if (words := screen.line_of(session)) != shown:
            shown = words
            print(words, flush=True)
        while not session.done and lines.come() and session.hear(lines.waiting[0]):
            del lines.waiting[0]
            _say(session)
        if lines.ended and not lines.waiting and not session.answered:
            return


def _say(session: TeachingSession) -> None:
    """What the session has to say, once."""
    if session.said:
        print(session.said, flush=True)
        session.said = ""


class _Lines:
    """What comes in by lines. waiting: those to be taken. ended: nothing more will come."""

    def __init__(self, source: int) -> None:
        self._source, self._rest = source, b""
        self.waiting: list[str] = []
        self.ended = False

    def come(self) -> bool:
        """Whether a line waits, among them what has just come in; waits for none itself."""
        while not self.ended and select.select([self._source], [], [], 0)[0]:
            data = os.read(self._source, 4096)
            self.ended = not data
            *whole, self._rest = (self._rest + (data or b"\n")).split(b"\n")
            self.waiting += (line.decode(errors="replace") for line in whole if line.strip())
        return bool(self.waiting)


def _learn(
    options: argparse.Namespace, samples: Samples, classifier: Classifier, store: ShotStore
) -> int:
    """Learn from all stored pictures, and activate what comes of it if it is better."""
    try:
        config = common.config_of(options)  # a route may have been added while items were shown
        state = common.looked_into(options)
        with common.progress("learning") as progress:
            result = lessons.learn_stored(
                samples, classifier, config, state, store.grounds, progress
            )
    except UsageError as error:
        print(f"bin-daemon: nothing is learnt yet: {error}", file=sys.stderr)
        print("What was taught is stored; `bin-daemon teach` goes on with it.", file=sys.stderr)
        return 1
    except BinDaemonError:
        print("bin-daemon: what was taught is stored", file=sys.stderr)
        raise
    lessons.print_result(result)
    return 0
