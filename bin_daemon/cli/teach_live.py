"""`teach` by hand: items into the chamber one by one, the class of each from the keyboard.

Opens camera and chamber itself while the daemon is stopped, shows on one screen what they see, and
learns at the end. Where there is no terminal it takes lines and prints lines. What was taught is in
the store at once and stays there however the program ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bin_daemon.camera import Reactive
from bin_daemon.cli import common
from bin_daemon.cli import teach_screen as screen
from bin_daemon.cli.hardware import devices
from bin_daemon.core import paths
from bin_daemon.core.errors import BinDaemonError, CameraFinishedError, PictureError, UsageError
from bin_daemon.core.messages import Image, Item, Vector, View, stamp
from bin_daemon.model.head import Base
from bin_daemon.teaching.session import Look, Sitting, Stage

if TYPE_CHECKING:
    from bin_daemon.camera import Camera
    from bin_daemon.chamber.chamber import Chamber
    from bin_daemon.config.sections import Config
    from bin_daemon.model.classifier import Classifier
    from bin_daemon.model.package import Package
    from bin_daemon.teaching.sample_store import Samples


def teach_live(options: argparse.Namespace) -> int:
    """Let a person teach, then learn from all that is kept; 1 where nothing could be learnt."""
    from bin_daemon.camera import open_camera
    from bin_daemon.cli.teach import classifier_of
    from bin_daemon.core.clock import SystemClock
    from bin_daemon.gpio.outputs import Outputs
    from bin_daemon.teaching.sample_store import Samples

    config, state = common.config_of(options), common.looked_into(options)
    clock = SystemClock()
    classifier = classifier_of(config, state)
    with Samples(paths.teaching(state), config.teaching.keep) as samples:
        before = Counter(sample.label or "" for sample in samples.list(labelled=True))
        table = _Table(samples, classifier.package)
        sitting = _sitting(config, classifier, table, before)
        with devices(options, config) as factory, Outputs(config.outputs, factory) as outputs:
            outputs.light(True)
            if light := config.outputs.light:
                clock.sleep(light.warmup_s)
            with open_camera(config.camera, clock) as camera, _told(sitting):
                scene = _Scene(config, camera, _chamber(config, options), classifier)
                _teach(scene, sitting, before)
        return _learn(options, samples, classifier, table)


def _chamber(config: Config, options: argparse.Namespace) -> Chamber:
    from bin_daemon.chamber.chamber import Chamber

    chamber = Chamber(config.chamber)
    if config.chamber.reference == "saved":
        chamber.load(common.looked_into(options) / "reference.npz")
    return chamber


class _Table:
    """Where the looks of this sitting go: into the store, and their grounds into memory.

    grounds: by id of a sample, the embedding of its crop with the item painted out.
    """

    def __init__(self, samples: Samples, package: Package) -> None:
        self._samples, self._base = samples, Base.of(package)
        self._session = f"teach-{stamp(time.time())}"
        self._items = 0
        self.grounds: dict[str, Vector] = {}

    def keep(self, looks: Sequence[Look], label: str) -> Sequence[str]:
        """See `sitting.Keep`: all looks of an item or, where one cannot be kept, none."""
        self._items += 1
        ids: list[str] = []
        try:
            for look in looks:
                ids.append(self._add(look, label))
        except BaseException:
            self.forget(ids)
            raise
        return ids

    def _add(self, look: Look, label: str) -> str:
        seen = look.prediction
        sample_id = self._samples.add(
            look.crop,
            seen.embedding,
            label,
            "taught",
            model=self._base.id,
            network=self._base.sha256,
            taken_at=time.time(),
            session=self._session,
            predicted=seen.label,
            confidence=seen.confidence,
            item=f"{self._session}/{self._items}",
        )
        if look.ground is not None:
            self.grounds[sample_id] = look.ground
        return sample_id

    def forget(self, ids: Sequence[str]) -> None:
        """Delete what `keep` kept."""
        self._samples.delete(ids)
        for sample_id in ids:
            self.grounds.pop(sample_id, None)


def _sitting(
    config: Config, classifier: Classifier, table: _Table, before: Counter[str]
) -> Sitting:
    from bin_daemon.sorting.policy import without_route

    def trouble(name: str) -> str:
        if not without_route(config, [name], classifier.id):
            return ""
        return f"no route takes '{name}' yet: add it to one's 'takes' before you finish"

    classes = dict.fromkeys((*classifier.labels, *sorted(before)))
    return Sitting(classes, table.keep, table.forget, trouble)


class _Scene:
    """Camera, chamber and network, a frame at a time."""

    def __init__(
        self, config: Config, camera: Camera, chamber: Chamber, classifier: Classifier
    ) -> None:
        self._config, self._camera, self._chamber = config, camera, chamber
        self._classifier = classifier
        self._empty: Image | None = None
        self._removed = False

    def step(self, sitting: Sitting) -> None:
        """Show the sitting one frame. Raises CameraFinishedError at the end of a replay."""
        frame = self._camera.capture(self._config.camera.deadline_s)
        try:
            observation = self._chamber.observe(frame)
            if observation.view is View.EMPTY:
                self._empty = frame.image
            if sitting.see(observation) and observation.item is not None:
                prediction = self._classifier.classify(observation.item.crop)
                ground = None if sitting.looks else self._ground(frame.image, observation.item)
                sitting.look(Look(observation.item.crop, prediction, ground))
        except PictureError:  # this frame is lost, the next one follows
            return
        if isinstance(self._camera, Reactive):
            # In a replayed scene nobody takes the item out but the scene itself.
            removal = sitting.stage is Stage.REMOVAL
            self._camera.cycle("clearing" if removal else "waiting", removal and not self._removed)
            self._removed = removal

    def _ground(self, image: Image, item: Item) -> Vector | None:
        """What the network sees in the crop of the item where the item is painted out."""
        from bin_daemon.teaching.folder import painted_out

        if self._empty is None or self._empty.shape != image.shape:
            return None
        ground = painted_out(image, self._empty, item, self._config.chamber)
        return self._classifier.classify(ground).embedding


@contextlib.contextmanager
def _told(sitting: Sitting) -> Iterator[None]:
    """Say what stays, where the sitting is broken off."""
    try:
        yield
    except BaseException:
        if count := sitting.counts.total():
            print(
                f"bin-daemon: broken off; what was named stays kept (items: {count}), and "
                f"`bin-daemon teach` goes on with it",
                file=sys.stderr,
            )
        raise


def _teach(scene: _Scene, sitting: Sitting, before: Counter[str]) -> None:
    """Frame after frame until the person has finished or the replay is over."""
    with contextlib.suppress(CameraFinishedError):
        if sys.stdin.isatty() and sys.stdout.isatty():
            _on_screen(scene, sitting, before)
        else:
            _by_lines(scene, sitting)


def _on_screen(scene: _Scene, sitting: Sitting, before: Counter[str]) -> None:
    from bin_daemon.cli.keyboard import Keyboard

    draw = screen.drawing()
    shown: list[str] = []
    with Keyboard() as keyboard:
        keyboard.draw(draw(sitting, before))  # the first frame takes a while
        while not sitting.done:
            scene.step(sitting)
            for key in keyboard.keys(0):
                sitting.press(key)
            lines = draw(sitting, before)
            if lines != shown:
                shown = lines
                keyboard.draw(lines)


def _by_lines(scene: _Scene, sitting: Sitting) -> None:
    """For programs: a line names an item as soon as one lies there; the end of input finishes."""
    lines = _Lines(sys.stdin.fileno())
    shown = ""
    while not sitting.done:
        scene.step(sitting)
        _say(sitting)
        if (words := screen.line_of(sitting)) != shown:
            shown = words
            print(words, flush=True)
        while not sitting.done and (line := lines.first()) is not None and sitting.hear(line):
            lines.drop()
            _say(sitting)
        if lines.ended and lines.first() is None and not sitting.answered:
            return


def _say(sitting: Sitting) -> None:
    """What the sitting has to say, once."""
    if sitting.said:
        print(sitting.said, flush=True)
        sitting.said = ""


class _Lines:
    """What comes in by lines, without waiting for it. ended: nothing more will come."""

    def __init__(self, source: int) -> None:
        self._source, self._rest = source, b""
        self._waiting: list[str] = []
        self.ended = False

    def first(self) -> str | None:
        """The line to be taken next, if one is there."""
        while not self.ended and select.select([self._source], [], [], 0)[0]:
            data = os.read(self._source, 4096)
            self.ended = not data
            *whole, self._rest = (self._rest + (data or b"\n")).split(b"\n")
            self._waiting += (line.decode(errors="replace") for line in whole if line.strip())
        return self._waiting[0] if self._waiting else None

    def drop(self) -> None:
        """The first line has been taken."""
        del self._waiting[0]


def _learn(
    options: argparse.Namespace, samples: Samples, classifier: Classifier, table: _Table
) -> int:
    """Learn from all that is kept, say what came of it, and put it in force if it is better."""
    from bin_daemon.cli.teach import learn_kept, tell_lesson

    try:
        config = common.config_of(options)  # a route may have been added while items were shown
        state = common.looked_into(options)
        with common.progress("learning") as tell:
            lesson = learn_kept(samples, classifier, config, state, table.grounds, tell)
    except UsageError as error:
        print(f"bin-daemon: nothing is learnt yet: {error}", file=sys.stderr)
        print("What was taught stays kept; `bin-daemon teach` goes on with it.", file=sys.stderr)
        return 1
    except BinDaemonError:
        print("bin-daemon: what was taught stays kept", file=sys.stderr)
        raise
    tell_lesson(lesson)
    return 0
