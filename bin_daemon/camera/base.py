"""What every camera is to the rest: frames, one after the other.

Frames flow out, RGB and stamped with monotonic time. A camera reports its own failure and does not
repair it: reopening is up to its owner.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from bin_daemon.core.closing import Closing
from bin_daemon.core.messages import Frame


class Camera(Closing, ABC):
    """Anything that delivers frames, one after the other; `close` releases the device."""

    @abstractmethod
    def capture(self, deadline_s: float) -> Frame:
        """The next frame, uint8 (height, width, 3) RGB, within `deadline_s` seconds.

        Raises CameraError where none came in time, CameraFinishedError at the end of a replay.
        """

    def on_cycle(self, state: str, dropped: bool) -> None:
        """Tell the state of the sort cycle ("waiting", "looking", ...): a replayed script reacts.

        dropped: true in the one call after the chute has let go of the item.
        """
