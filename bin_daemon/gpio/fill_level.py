"""How full the compartments are, by ultrasonic sensors that look down into them.

Echoes flow in through gpiozero's DistanceSensor, whole percents flow out. One thread measures, one
sensor after another; `read` only looks up the last result. A sensor that fails or hears nothing for
too long makes its own level unknown and affects nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bin_daemon.core.closing import Closing
from bin_daemon.core.worker import Worker
from bin_daemon.gpio.factory import claiming

if TYPE_CHECKING:
    from bin_daemon.config.hardware import Ultrasonic
    from bin_daemon.core.clock import Clock
    from bin_daemon.gpio.factory import Factory

# An HC-SR04 reaches 4 m; without an echo many of them report some 6 m instead of silence.
RANGE_CM = 450.0
# The median of so many echoes ignores a stray one from a bag's edge or a neighbour.
ECHOES = 9
# gpiozero pings every 60 ms and waits up to 26 ms for an echo from the end of the range.
MEASURE_S = 1.5
# A smaller change than this is noise, except that empty and full are always reported.
HYSTERESIS_PERCENT = 2.0
BEAT_S = 0.5
STOP_S = 2.0

_log = logging.getLogger(__name__)


def percent_of(distance_cm: float, sensor: Ultrasonic) -> float:
    """How full a compartment is whose surface is so far away: 0 to 100, a whole number."""
    share = (sensor.empty_cm - distance_cm) / (sensor.empty_cm - sensor.full_cm)
    return float(round(100 * min(max(share, 0.0), 1.0)))


def steadied(shown: float | None, percent: float) -> float:
    """What to show after `shown` when `percent` is measured (hysteresis)."""
    if shown is None or percent in (0.0, 100.0):
        return percent
    return percent if abs(percent - shown) >= HYSTERESIS_PERCENT else shown


@dataclasses.dataclass(slots=True)
class _Compartment:
    """What is known of one route's compartment.

    heard_at: of the last echo, on the clock. due_at: of the next measurement, `time.monotonic`.
    """

    route: str
    sensor: Ultrasonic
    heard_at: float
    percent: float | None = None
    due_at: float = 0.0
    failing: bool = False


class FillLevels(Closing):
    """Measures one compartment after another in a thread of its own, until closed.

    config: by route, at least one. clock: what staleness is measured on.
    A DistanceSensor pings 16 times a second for as long as it is open, so each one is opened for
    the second that a measurement takes and closed again: less wear and noise, and no two sensors
    hear each other. Opening them once at construction shows that the pins can be used.
    Raises ChuteError, naming the key and the pins, where they cannot.
    """

    def __init__(self, config: Mapping[str, Ultrasonic], factory: Factory, clock: Clock) -> None:
        from gpiozero.exc import DistanceSensorNoEcho, PWMSoftwareFallback

        # A missing echo is reported as an unknown level; and the kernel's timestamps of the edges,
        # which gpiozero finds poor beside pigpio's, are far better than a percent of a bin.
        for category in (DistanceSensorNoEcho, PWMSoftwareFallback):
            warnings.filterwarnings("ignore", category=category)
        self._factory, self._clock = factory, clock
        self.routes = frozenset(config)
        now = clock.monotonic()
        self._compartments = [_Compartment(route, s, now) for route, s in config.items()]
        for one in self._compartments:
            where = f"sensors.fill.{one.route}: GPIO {one.sensor.trigger} or {one.sensor.echo}"
            with claiming(where), self._opened(one.sensor):
                pass
        self._worker = Worker("fill", self._run)
        self._worker.start()

    @property
    def beat_at(self) -> float:
        """When the thread was last seen alive, in `time.monotonic` seconds; for the supervisor."""
        return self._worker.beat_at

    def read(self) -> tuple[dict[str, float], tuple[str, ...]]:
        """Percent by route, and the routes that have given no echo for too long.

        A route is in neither before its first echo.
        """
        now = self._clock.monotonic()
        levels, silent = {}, []
        for one in self._compartments:
            if now - one.heard_at >= one.sensor.stale_s:
                silent.append(one.route)
            elif one.percent is not None:
                levels[one.route] = one.percent
        return levels, tuple(silent)

    def close(self) -> None:
        """Stop measuring and release the pins; may be called again."""
        if not self._worker.stop(STOP_S):
            _log.error("the thread 'fill' did not stop within %g s: the pin library hangs", STOP_S)

    def _run(self) -> None:
        while not self._worker.stopping:
            for one in self._compartments:
                if one.due_at <= time.monotonic() and not self._worker.stopping:
                    self._update(one)
                    one.due_at = time.monotonic() + one.sensor.interval_s
            self._worker.beat()
            until = min(one.due_at for one in self._compartments)
            self._worker.wait(min(BEAT_S, max(0.0, until - time.monotonic())))

    def _update(self, one: _Compartment) -> None:
        try:
            distance_cm = self._measure(one.sensor)
            trouble = "no echo" if distance_cm is None else ""
        # The other sensors go on, and this one may come back.
        except Exception as error:
            distance_cm, trouble = None, str(error) or type(error).__name__
        if self._worker.stopping:
            return
        if trouble and not one.failing:
            _log.warning("sensors.fill.%s: %s", one.route, trouble)
        one.failing = bool(trouble)
        if distance_cm is not None:
            one.percent = steadied(one.percent, percent_of(distance_cm, one.sensor))
            one.heard_at = self._clock.monotonic()

    def _measure(self, sensor: Ultrasonic) -> float | None:
        """Distance in cm, the median of ECHOES; None where not enough came back in time."""
        with self._opened(sensor) as device:
            until = time.monotonic() + MEASURE_S
            # Beyond the threshold of 1 mm that it was opened with, which is: all echoes are in.
            while not device.wait_for_out_of_range(0.1):
                self._worker.beat()
                if self._worker.stopping or time.monotonic() >= until:
                    return None
            distance_cm = float(device.distance) * 100
        return distance_cm if distance_cm < RANGE_CM else None

    @contextlib.contextmanager
    def _opened(self, sensor: Ultrasonic) -> Iterator[Any]:
        import gpiozero

        device = gpiozero.DistanceSensor(
            echo=sensor.echo,
            trigger=sensor.trigger,
            queue_len=ECHOES,
            max_distance=RANGE_CM / 100,
            threshold_distance=0.001,
            pin_factory=self._factory,
        )
        try:
            yield device
        finally:
            # Its own `close` takes the trigger away from under the thread that pings.
            gpiozero.SmoothedInputDevice.close(device)
            device.close()
