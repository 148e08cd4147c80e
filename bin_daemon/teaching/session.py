"""A person shows the bin one item after another and says what each is.

Frames and keys flow in; named shots flow out into the store, and what to show is read off. The
session itself is a state machine without camera, clock or terminal; it is shown frames by a
`FrameViewer`, and keeps its shots in a `ShotStore`. Opens no device, and nothing is learnt here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from bin_daemon.chamber.chamber import Chamber
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.errors import BinDaemonError, PictureError, UsageError
from bin_daemon.core.messages import Frame, Image, Observation, Prediction, Vector, View, stamp
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base
from bin_daemon.teaching.folder import painted_out
from bin_daemon.teaching.sample import check_label
from bin_daemon.teaching.sample_store import Samples

SHOTS = 3  # fresh frames of each item, so that the noise of the camera is learnt as noise
NEW, SKIP, UNDO, FINISH = "n", "s", "u", "f"
_KEYS = "123456789" + "".join(c for c in "abcdefghijklmnopqrstvwxyz" if c not in "nsuf")
_NAME_LENGTH = 64


class Stage(StrEnum):
    """What the session waits for."""

    ITEM = "item"  # an item at rest
    NAME = "name"  # what it is
    REMOVAL = "removal"  # an empty chamber


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """One fresh frame of an item. ground: the embedding of its crop without it, where known."""

    crop: Image
    prediction: Prediction
    ground: Vector | None = None


class TeachingSession:
    """What the person has taught so far, and what is to be done next.

    classes: their names; each gets a key. trouble: what the person should know of a new class, ""
    for nothing. answered: what the item that lies there was named, while shots of it are to come.
    """

    def __init__(
        self,
        classes: Iterable[str],
        store: ShotStore,
        trouble: Callable[[str], str] = lambda name: "",
    ) -> None:
        self.classes = list(classes)
        self._store, self._trouble = store, trouble
        self._taught: list[tuple[str, Sequence[str]]] = []
        self.answered: str | None = None
        self.stage = Stage.ITEM
        self.observation: Observation | None = None
        self.shots: list[Shot] = []
        self.typed: str | None = None
        self.said = ""
        self.done = False

    @property
    def keys(self) -> dict[str, str]:
        """The key of each class; classes beyond the keys there are can be typed after NEW."""
        return dict(zip(_KEYS, self.classes, strict=False))

    @property
    def counts(self) -> Counter[str]:
        """Items taught in this session, by class."""
        return Counter(label for label, _ in self._taught)

    def see(self, observation: Observation) -> bool:
        """Take what the chamber shows; whether a shot of its item is wanted (`take`)."""
        self.observation = observation
        if self.stage is Stage.REMOVAL:
            if observation.view is View.EMPTY:
                self.stage = Stage.ITEM
            return False
        if observation.view is not View.ITEM:
            if self.answered is not None and self.shots:
                self._commit(self.answered)  # it was named, and taken out before the last shot
            else:
                self._start_over(Stage.ITEM)
            return False
        if self.stage is not Stage.NAME:
            self.stage, self.said = Stage.NAME, ""
        return len(self.shots) < SHOTS

    def take(self, shot: Shot) -> None:
        """Take the shot that `see` asked for."""
        self.shots.append(shot)
        if self.answered is not None and len(self.shots) >= SHOTS:
            self._commit(self.answered)

    def _commit(self, label: str) -> None:
        try:
            ids = self._store.keep(self.shots, label)
        except BinDaemonError as error:
            self.said = f"not kept: {error}"
        else:
            self._taught.append((label, ids))
            self.said = f"kept as {label}"
        self._start_over(Stage.REMOVAL)

    def _start_over(self, stage: Stage) -> None:
        self.stage, self.answered = stage, None
        self.shots = []

    def press(self, key: str) -> None:
        """Take a key: a character, or enter, escape, backspace."""
        self.said = ""
        if self.typed is not None:
            self._type(key)
        elif key == NEW:
            self.typed = ""
        elif key == SKIP:
            if self.stage is Stage.NAME:
                self._start_over(Stage.REMOVAL)
                self.said = "skipped"
        elif key == UNDO:
            self._undo()
        elif key == FINISH:
            self.done = True
        elif key in self.keys:
            self.answer(self.keys[key])
        else:
            self.said = "this key does nothing; see the last line"

    def answer(self, label: str) -> None:
        """The item that lies there is of this class."""
        if self.stage is not Stage.NAME:
            self.said = "there is nothing to name yet"
            return
        self.answered = label
        if len(self.shots) >= SHOTS:
            self._commit(label)

    def _undo(self) -> None:
        if self.answered is not None:  # named, but not looked at long enough to be kept
            self.answered = None
            self.said = "not kept; what is it?"
            return
        if not self._taught:
            self.said = "nothing was taught in this session"
            return
        label, ids = self._taught[-1]
        try:
            self._store.forget(ids)
        except BinDaemonError as error:
            self.said = f"not undone: {error}"
            return
        self._taught.pop()
        self.said = f"undone: the last {label}"
        if self.stage is Stage.REMOVAL:
            self._start_over(Stage.ITEM)  # if it is still there, it is asked about again

    def _type(self, key: str) -> None:
        assert self.typed is not None
        if key == "escape":
            self.typed = None
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif key == "enter":
            name, self.typed = self.typed.strip(), None
            if name:
                self.name(name)
        elif len(key) == 1 and len(self.typed) < _NAME_LENGTH:
            self.typed += key

    def name(self, label: str) -> None:
        """A class by its name, new or not; what lies there is of it."""
        try:
            check_label(label)
        except UsageError as error:
            self.said = str(error)
            return
        words = ""
        if label not in self.classes:
            self.classes.append(label)
            words = self._trouble(label)
        if self.stage is Stage.NAME:
            self.answer(label)
        self.said = "; ".join(part for part in (self.said, words) if part)

    def hear(self, line: str) -> bool:
        """Take a line as a program types it: a key, the name of a class, or `n NAME`.

        False where it comes too early, the item before not being done or the next not there: say it
        again then.
        """
        line = line.strip()
        if self.answered is not None:
            return False
        if line in ("", UNDO, FINISH):
            if line:
                self.press(line)
            return True
        if self.stage is not Stage.NAME:
            return False
        self.said = ""
        new, _, label = line.partition(" ")
        if new == NEW and label:
            self.name(label.strip())
        elif line in self.classes:
            self.answer(line)
        elif line == NEW or (line not in self.keys and line != SKIP):
            self.said = f"no class '{line}'; '{NEW} {line}' makes one"
        else:
            self.press(line)
        return True


class ShotStore:
    """Where the shots of one session go: into the store, and their grounds into memory.

    grounds: by id of a sample, the embedding of its crop with the item painted out.
    """

    def __init__(self, samples: Samples, base: Base) -> None:
        self._samples, self._base = samples, base
        self._session = f"teach-{stamp(time.time())}"
        self._items = 0
        self.grounds: dict[str, Vector] = {}

    def keep(self, shots: Sequence[Shot], label: str) -> Sequence[str]:
        """Store all shots of an item under its class or, where one cannot be kept, none; the ids.

        Raises as `Samples.add`.
        """
        self._items += 1
        ids: list[str] = []
        with contextlib.ExitStack() as failed:
            failed.callback(self.forget, ids)
            for shot in shots:
                sample_id = self._samples.add(
                    shot.crop,
                    shot.prediction.embedding,
                    label,
                    "taught",
                    base=self._base,
                    taken_at=time.time(),
                    session=self._session,
                    predicted=shot.prediction.label,
                    confidence=shot.prediction.confidence,
                    item=f"{self._session}/{self._items}",
                )
                ids.append(sample_id)
                if shot.ground is not None:
                    self.grounds[sample_id] = shot.ground
            failed.pop_all()
        return ids

    def forget(self, ids: Sequence[str]) -> None:
        """Delete what `keep` stored. Raises StoreError."""
        self._samples.delete(ids)
        for sample_id in ids:
            self.grounds.pop(sample_id, None)


class FrameViewer:
    """Chamber and network, which look at frames for a session."""

    def __init__(self, config: ChamberSection, chamber: Chamber, classifier: Classifier) -> None:
        self._config, self._chamber, self._classifier = config, chamber, classifier
        self._empty: Image | None = None

    def show(self, frame: Frame, session: TeachingSession) -> bool:
        """Show the session one frame; False where the frame is unusable."""
        try:
            observation = self._chamber.observe(frame)
            if observation.view is View.EMPTY:
                self._empty = frame.image
            if session.see(observation) and (item := observation.item) is not None:
                prediction = self._classifier.classify(item.crop)
                ground, empty = None, self._empty
                if not session.shots and empty is not None and empty.shape == frame.image.shape:
                    without = painted_out(frame.image, empty, item, self._config)
                    ground = self._classifier.classify(without).embedding
                session.take(Shot(item.crop, prediction, ground))
        except PictureError:
            return False
        return True
