"""Teaching by hand at the bin: what lies between the camera, a `TeachingSession` and the store.

Frames flow in, observations and shots flow to the session; what it names flows to the sample store.
Opens no device and asks nobody; nothing is learnt here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from bin_daemon.chamber.chamber import Chamber
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.errors import PictureError
from bin_daemon.core.messages import Frame, Image, Item, Vector, View, stamp
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base
from bin_daemon.teaching.folder import painted_out
from bin_daemon.teaching.sample_store import Samples
from bin_daemon.teaching.session import Shot, TeachingSession


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
        try:
            for shot in shots:  # one by one: what was added is forgotten where the next fails
                ids.append(self._add(shot, label))  # noqa: PERF401
        except BaseException:
            self.forget(ids)
            raise
        return ids

    def _add(self, shot: Shot, label: str) -> str:
        prediction = shot.prediction
        sample_id = self._samples.add(
            shot.crop,
            prediction.embedding,
            label,
            "taught",
            base=self._base,
            taken_at=time.time(),
            session=self._session,
            predicted=prediction.label,
            confidence=prediction.confidence,
            item=f"{self._session}/{self._items}",
        )
        if shot.ground is not None:
            self.grounds[sample_id] = shot.ground
        return sample_id

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
            if session.see(observation) and observation.item is not None:
                prediction = self._classifier.classify(observation.item.crop)
                ground = None if session.shots else self._ground(frame.image, observation.item)
                session.take(Shot(observation.item.crop, prediction, ground))
        except PictureError:
            return False
        return True

    def _ground(self, image: Image, item: Item) -> Vector | None:
        """What the network sees in the crop of the item where the item is painted out."""
        if self._empty is None or self._empty.shape != image.shape:
            return None
        ground = painted_out(image, self._empty, item, self._config)
        return self._classifier.classify(ground).embedding
