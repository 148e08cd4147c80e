"""What sorts: camera, chamber, network, chute, sensors and outputs, joined by the cycle.

A configuration, a clock and a recorder flow in; `step` takes one frame through all of it. `App`
puts the daemon around a `Bin`, a replay uses it bare. It knows nothing of MQTT.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon.camera import Camera, open_camera
from bin_daemon.chute.chute import Chute, ChuteState
from bin_daemon.chute.ticker import ChuteThread
from bin_daemon.config.sections import Config
from bin_daemon.core import paths
from bin_daemon.core.clock import Clock, SimulatedClock
from bin_daemon.core.closing import Closing
from bin_daemon.core.errors import BinDaemonError, CameraError, PictureError, UsageError
from bin_daemon.core.messages import Alert, Observation, Severity, View
from bin_daemon.daemon.cycle import Cycle, Machine, OnState, Recorder
from bin_daemon.gpio.factory import open_factory
from bin_daemon.gpio.outputs import Outputs
from bin_daemon.gpio.sensors import Sensors
from bin_daemon.model.package import Package, open_package
from bin_daemon.sorting.policy import policy_of
from bin_daemon.sorting.sorter import Sorter

if TYPE_CHECKING:
    from bin_daemon.chamber.chamber import Chamber
    from bin_daemon.chamber.lamp import LampChamber
    from bin_daemon.model.classifier import Classifier
    from bin_daemon.teaching.collector import Collector

log = logging.getLogger(__name__)

BAD_FRAMES = 10  # so many in a row without a usable picture are a fault of the camera
SAVE_REFERENCE_S = 3600.0
# Views in which something may be in the way of the first motion.
_NO_HOMING = (View.LEARNING, View.HAND, View.MOVING, View.BLOCKED)


@dataclasses.dataclass(frozen=True, slots=True)
class Files:
    """What a bin keeps from one start to the next; None where it keeps nothing of a kind.

    reference: the file of the empty view. cache_dir: the folder of what was checked before.
    samples: the folder of the pictures that the configuration wants kept. taught: the state
    directory whose taught head is used; without it the package is used as it ships.
    """

    reference: Path | None = None
    cache_dir: Path | None = None
    samples: Path | None = None
    taught: Path | None = None


class Bin(Closing):
    """The parts that sort, built from a configuration and closed in reverse.

    clock: a SimulatedClock makes the chute move with it; with any other clock a thread ticks it.
    camera: instead of the configured one. session, on_state: as in `Cycle`. progress: called again
    and again, with a message, while something before the first frame takes long.
    Raises BinDaemonError where a part cannot be built; what was built by then is closed again.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        recorder: Recorder,
        *,
        camera: Camera | None = None,
        files: Files = Files(),
        session: int = 0,
        on_state: OnState = lambda state: None,
        progress: Callable[[str], None] = lambda message: None,
    ) -> None:
        from bin_daemon.chamber.crop import is_same

        self._config, self._clock, self._files = config, clock, files
        self.package: Package = open_package(config.model.name, files.cache_dir)
        with contextlib.ExitStack() as stack:
            self._collector = self._open_collector(stack)
            self.classifier = self._load_classifier(recorder, progress)
            policy = policy_of(config, self.classifier)
            self._open_devices(stack)
            self._await_light()
            self.camera = camera if camera is not None else open_camera(config.camera, clock)
            stack.callback(self._close_camera)
            self.chamber = self._open_chamber()
            file = files.reference if config.chamber.reference == "saved" else None
            known = file is not None and self.chamber.load(file)
            self._save_due = clock.monotonic() + (SAVE_REFERENCE_S if known else 0.0)
            looks, chute = config.decision.looks, config.chute
            sorter = Sorter(policy, is_same, looks, chute.clear_s, chute.in_view)
            machine = Machine(
                self.chamber, self.classifier, self.chute, self.sensors, self.outputs, clock
            )
            on_decision = self._collector.on_decision if self._collector else None
            self.cycle = Cycle(sorter, machine, recorder, session, on_state, on_decision)
            self._stack = stack.pop_all()
        self._home_pending = config.chute.homing == "auto"
        self._dropped, self._bad_frames = False, 0

    def step(self) -> Observation | None:
        """One frame through the cycle; None where the frame was not usable.

        Raises CameraFinishedError at the end of a replay, BinDaemonError where a part has failed.
        """
        frame = self.camera.capture(self._config.camera.deadline_s)
        if self._ticker is not None:
            self._ticker.check()
        try:
            observation = self.cycle.step(frame)
        except PictureError as error:
            self._bad_frames += 1
            log.warning("frame %d skipped: %s", frame.number, error)
            if self._bad_frames >= BAD_FRAMES:
                raise CameraError(f"{BAD_FRAMES} unusable frames in a row: {error}") from error
            return None
        self._bad_frames = 0
        self._home_when_clear(observation)
        if observation.view is View.EMPTY and observation.captured_at >= self._save_due:
            self._save_due = observation.captured_at + SAVE_REFERENCE_S
            self._save_reference()
        dropped, self._dropped = self._dropped, self.chute.dropped
        self.camera.on_cycle(self.cycle.state, self.chute.dropped and not dropped)
        return observation

    def beats(self) -> Mapping[str, float]:
        """Last sign of life of each thread that the bin has, in `time.monotonic` seconds."""
        chute_at = self._ticker.beat_at if self._ticker else None
        beats = {"chute": chute_at, "fill": self.sensors.beat_at}
        return {name: at for name, at in beats.items() if at is not None}

    def problems(self) -> tuple[str, ...]:
        """What the operator should know, though the bin sorts all the same."""
        return self._collector.problems() if self._collector else ()

    def correct(self, event_id: str, label: str) -> None:
        """Keep the picture of an item as one of `label`; from any thread.

        Raises UsageError where no route takes such items or the picture cannot be had.
        """
        if label not in self._config.route_of:
            known = ", ".join(sorted(self._config.route_of))
            raise UsageError(f"no route takes '{label}'; the classes of this bin: {known}")
        if self._collector is None:
            raise UsageError("this bin keeps no pictures of items; see teaching.keep")
        self._collector.correct(event_id, label)

    def reopen_camera(self) -> None:
        """Close the camera and open it again. Raises CameraError where that does not help."""
        self._close_camera()
        self._bad_frames = 0
        if self._lamp is not None:
            self._lamp.wake()
            self._await_light()
        self.camera = open_camera(self._config.camera, self._clock)

    def close(self) -> None:
        """Interrupt the item under way, silence the servos, let go of every device."""
        with self._stack:
            self.cycle.interrupt()
            self._save_reference()

    def _open_collector(self, stack: contextlib.ExitStack) -> Collector | None:
        folder, keep = self._files.samples, self._config.teaching.keep
        if folder is None or not (keep.unsure or keep.corrected):
            return None
        from bin_daemon.model.head import Base
        from bin_daemon.teaching.collector import Collector

        return stack.enter_context(Collector(folder, keep, Base.of(self.package), self._clock))

    def _load_classifier(self, recorder: Recorder, progress: Callable[[str], None]) -> Classifier:
        """The network with the head it was taught; an alert where not all of that can be used."""
        from bin_daemon.model.classifier import Classifier

        model, taught = self._config.model, self._files.taught
        classifier = Classifier(self.package, model.runtime, model.threads)
        if taught is None or not paths.taught_head(taught).exists():
            return classifier
        from bin_daemon.teaching.activation import head_for

        classifier.head, message = head_for(
            classifier,
            self._config,
            taught,
            keep=self._files.cache_dir is not None,
            progress=lambda message: progress(f"learning anew: {message}"),
        )
        if message:
            log.warning("%s", message)
            alert = Alert("teaching", Severity.WARNING, message, self._clock.time())
            recorder.raise_alert(alert)
        return classifier

    def _open_devices(self, stack: contextlib.ExitStack) -> None:
        """Pins, lamp, sensors and chute; the lamp is on and the chute ticks from here on."""
        config, clock = self._config, self._clock
        self.pins = open_factory(config.chute.pins, config.chute.board)
        stack.callback(self.pins.close)
        self.outputs = stack.enter_context(Outputs(config.outputs, self.pins))
        self.outputs.light(True)
        self.sensors = stack.enter_context(Sensors(config.sensors, self.pins, clock))
        self.chute = stack.enter_context(Chute(config.chute, config.routes, self.pins, clock))
        self._ticker: ChuteThread | None = None
        if isinstance(clock, SimulatedClock):
            clock.watchers.append(self.chute.tick)
        else:
            self._ticker = stack.enter_context(ChuteThread(self.chute))

    def _open_chamber(self) -> Chamber | LampChamber:
        self._lamp: LampChamber | None = None
        light = self._config.outputs.light
        if light is None or light.when == "always":
            from bin_daemon.chamber.chamber import Chamber

            return Chamber(self._config.chamber)
        from bin_daemon.chamber.lamp import LampChamber

        self._lamp = LampChamber(self._config.chamber, light, self.outputs.light, self._wants_light)
        return self._lamp

    def _await_light(self) -> None:
        """Wait until the lamp, just switched on, is steady: the camera sets its exposure by it."""
        if light := self._config.outputs.light:
            self._clock.sleep(light.warmup_s)

    def _wants_light(self) -> bool:
        return bool(self.sensors.read().interlocked) or self.chute.state is not ChuteState.RESTING

    def _home_when_clear(self, observation: Observation) -> None:
        if not self._home_pending or self.cycle.sorter.frozen or observation.view in _NO_HOMING:
            return
        self._home_pending = False
        if self.chute.state is ChuteState.RESTING:  # else it is on a route, which goes home first
            self.chute.home()

    def _save_reference(self) -> None:
        """Save the empty view for the next start; without a disk it is learnt again then."""
        if self._files.reference is None or self.chamber.reference is None:
            return
        try:
            self.chamber.save(self._files.reference)
        except (BinDaemonError, OSError) as error:
            log.warning("the empty view is not saved: %s", error)

    def _close_camera(self) -> None:
        self.camera.close()  # whichever it is by now
