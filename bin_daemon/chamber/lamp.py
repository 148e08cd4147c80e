"""A chamber whose lamp is on only while there is something to see.

Frames flow in, Observations flow out, as from a `Chamber`, and the lamp is switched in between. The
empty view differs with the lamp, so there are two chambers: the lit one judges what lies there, the
dark one only notices, where daylight lets it, that something stirs. It never moves anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from bin_daemon.chamber.chamber import Chamber
from bin_daemon.config.sections import ChamberSection, Light
from bin_daemon.core.messages import Blockage, Frame, Image, Item, Observation, View

_THINGS = (View.ITEM, View.ITEMS, View.HAND)


class LampChamber:
    """Two chambers and the lamp that changes one into the other.

    switch: the lamp, which is on when this is built. busy: whether something else asks for light (a
    broken beam, an open lid, a chute that moves); without such a sensor only what daylight shows
    wakes the lamp, for a frame without light is taken for an empty chamber.

    The dark chamber is trusted only as far as the lit one bears it out. What it took for something,
    when the lit one then sees nothing, makes it learn its view anew; and a view that it has learnt
    is looked at once more in the light, lest somebody threw something in meanwhile.
    """

    def __init__(
        self,
        config: ChamberSection,
        light: Light,
        switch: Callable[[bool], None],
        busy: Callable[[], bool],
    ) -> None:
        self._lit, self._dark = Chamber(config), Chamber(config)
        self._light, self._lamp, self._busy = light, switch, busy
        self._on = True
        self._now = -math.inf
        self._steady_at = -math.inf
        self._empty_since: float | None = None
        self._unproven = False  # the dark view was learnt and not looked at in the light since
        self._wrong = False  # the dark view shows something, and the lit one does not

    @property
    def reference(self) -> Image | None:
        """The empty view under the lamp; see `Chamber.reference`."""
        return self._lit.reference

    def learn(self) -> None:
        """Forget both empty views and learn them anew, first the lit one."""
        self._lit.learn()
        self._dark.learn()
        self._switch(True)

    def wake(self) -> None:
        """Switch the lamp on, as if something had stirred."""
        self._switch(True)

    def observe(self, frame: Frame) -> Observation:
        """What `frame` shows; see `Chamber.observe`. While the light comes it says MOVING."""
        self._now = frame.captured_at
        if not self._on and self._busy():
            self._switch(True)
        if self._now < self._steady_at:
            return self._changing()
        return self._in_light(frame) if self._on else self._in_dark(frame)

    def save(self, path: Path) -> None:
        """Keep the lit view at `path` and the dark one, where it is known, next to it."""
        self._lit.save(path)
        if self._dark.reference is not None:
            self._dark.save(_dark_path(path))

    def load(self, path: Path) -> bool:
        """Take what `save` kept; whether the lit view was there. See `Chamber.load`."""
        self._dark.load(_dark_path(path))
        return self._lit.load(path)

    def is_same(self, a: Item, b: Item) -> bool:
        """See `Chamber.is_same`; both are items of the lit chamber."""
        return self._lit.is_same(a, b)

    def _in_light(self, frame: Frame) -> Observation:
        seen = self._lit.observe(frame)
        if seen.view in _THINGS:
            self._wrong = False
        if seen.view is not View.EMPTY or self._busy():
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
