"""A chamber whose lamp is on only while there is something to see.

Frames flow in, Observations flow out as from a `Chamber`, and the lamp is switched in between. The
background differs with the lamp, so there are two chambers: the lit one judges what lies there, the
dark one only notices, where daylight allows, that something has changed. It moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from bin_daemon.chamber.chamber import Chamber
from bin_daemon.config.hardware import Light
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.messages import Blockage, Frame, Image, Observation, View

_THINGS = (View.ITEM, View.ITEMS, View.HAND)


class LampChamber:
    """Two chambers and the lamp that changes one into the other.

    switch: turns the lamp on or off; it is on at construction. needed: whether something else needs
    light (a broken beam, an open lid, a moving chute). Without such a sensor the lamp goes on only
    for what daylight shows, since a black frame counts as an empty chamber.

    The dark chamber is trusted only as far as the lit one confirms it. Where it saw something and
    the lit one sees nothing, it learns its view anew; and each view that it has learnt is checked
    once in the light, because something may have been thrown in meanwhile.
    """

    def __init__(
        self,
        config: ChamberSection,
        light: Light,
        switch: Callable[[bool], None],
        needed: Callable[[], bool],
    ) -> None:
        self._lit, self._dark = Chamber(config), Chamber(config)
        self._light, self._lamp, self._needed = light, switch, needed
        self._on = True
        self._now = -math.inf
        self._steady_at = -math.inf
        self._empty_since: float | None = None
        self._unproven = False  # the dark view was learnt and not checked in the light since
        self._wrong = False  # the dark view shows something that the lit one does not

    @property
    def reference(self) -> Image | None:
        """The empty view under the lamp, as `Chamber.reference`."""
        return self._lit.reference

    def learn(self) -> None:
        """Forget both empty views and learn them anew, the lit one first."""
        self._lit.learn()
        self._dark.learn()
        self._switch(True)

    def wake(self) -> None:
        """Switch the lamp on, as if something had been seen."""
        self._switch(True)

    def observe(self, frame: Frame) -> Observation:
        """What `frame` shows, as `Chamber.observe`; MOVING while the lamp warms up."""
        self._now = frame.captured_at
        if not self._on and self._needed():
            self._switch(True)
        if self._now < self._steady_at:
            return self._changing()
        return self._in_light(frame) if self._on else self._in_dark(frame)

    def save(self, path: Path) -> None:
        """Write the lit view to `path` and the dark one, where it is known, next to it."""
        self._lit.save(path)
        if self._dark.reference is not None:
            self._dark.save(_dark_path(path))

    def load(self, path: Path) -> bool:
        """Take what `save` wrote; whether the lit view was there, as `Chamber.load`."""
        self._dark.load(_dark_path(path))
        return self._lit.load(path)

    def _in_light(self, frame: Frame) -> Observation:
        seen = self._lit.observe(frame)
        if seen.view in _THINGS:
            self._wrong = False
        if seen.view is not View.EMPTY or self._needed():
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = self._now
        elif self._now - self._empty_since >= self._light.linger_s:
            if self._wrong:
                self._dark.learn()
            self._wrong = self._unproven = False
            self._switch(False)
        return seen

    def _in_dark(self, frame: Frame) -> Observation:
        seen = self._dark.observe(frame)
        if seen.blockage is Blockage.DARK:
            seen = Observation(View.EMPTY, self._now, reason="the lamp is off")
        elif seen.view is View.LEARNING:
            self._unproven = True
        elif seen.view is not View.EMPTY:
            self._wrong = True
            self._switch(True)
        elif self._unproven:
            self._switch(True)
        return self._changing() if self._on else seen

    def _switch(self, on: bool) -> None:
        self._on = on
        self._lamp(on)
        self._steady_at = self._now + self._light.warmup_s
        self._empty_since = None

    def _changing(self) -> Observation:
        view = View.MOVING if self._on else View.EMPTY
        return Observation(view, self._now, reason=f"the lamp goes {'on' if self._on else 'off'}")


def _dark_path(path: Path) -> Path:
    return path.with_stem(f"{path.stem}-dark")
