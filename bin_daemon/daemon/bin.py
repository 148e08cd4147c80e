"""What sorts: camera, chamber, network, chute, sensors and outputs, joined by the cycle.

A configuration, a clock and a recorder flow in; `step` takes one frame through all of it. `App`
puts the daemon around a `Bin`; a replay uses it bare.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bin_daemon.camera import Camera, Reactive, open_camera
from bin_daemon.chute.chute import Chute, Stage
from bin_daemon.chute.ticker import ChuteThread
from bin_daemon.config.sections import Config
from bin_daemon.core import paths
from bin_daemon.core.clock import Clock, SimulatedClock, boot_id
from bin_daemon.core.errors import BinDaemonError, CameraError, PictureError, UsageError
from bin_daemon.core.messages import Alert, Observation, Severity, View
from bin_daemon.daemon.cycle import Cycle, Recorder
from bin_daemon.gpio.factory import open_factory
from bin_daemon.gpio.outputs import Outputs
from bin_daemon.gpio.sensors import Sensors
from bin_daemon.model.package import Package, open_package
from bin_daemon.sorting.decision import decide
from bin_daemon.sorting.policy import policy_of
from bin_daemon.sorting.sorter import Sorter, State

if TYPE_CHECKING:
    from bin_daemon.chamber.chamber import Chamber
    from bin_daemon.chamber.lamp import LampChamber
    from bin_daemon.model.head import Head
    from bin_daemon.teaching.collector import Keeping

log = logging.getLogger(__name__)

# So many frames in a row without a usable picture are a fault of the camera.
BAD_FRAMES = 10
SAVE_REFERENCE_S = 3600.0

# Views in which somebody or something may be in the way of the first motion.
_NO_HOMING = (View.LEARNING, View.HAND, View.MOVING, View.BLOCKED)


class Bin:
    """The parts that sort, built from a configuration and closed in reverse.

    clock: a SimulatedClock makes the chute move with it; with any other clock a thread ticks it.
    camera: instead of the configured one. reference: file of the empty view.
    cache_dir: folder that remembers what was checked; None keeps nothing. told: see `Cycle`.
    samples: folder of the pictures that the configuration wants kept; None keeps none of them.
    taught: the state directory whose taught head is used; None uses the package as it ships.
    busy: takes words, again and again, while something before the first frame takes long.
    Raises BinDaemonError where a part cannot be built; what was built by then is closed again.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        recorder: Recorder,
        *,
        session: int = 0,
        camera: Camera | None = None,
        reference: Path | None = None,
        cache_dir: Path | None = None,
        told: Callable[[State], None] = lambda state: None,
        samples: Path | None = None,
        taught: Path | None = None,
        busy: Callable[[str], None] = lambda words: None,
    ) -> None:
        from bin_daemon.model.classifier import Classifier

        self._config, self._clock, self._reference = config, clock, reference
        self.package: Package = open_package(config.model.name, cache_dir)
        with contextlib.ExitStack() as stack:
            self._keeping = self._start_keeping(stack, samples)
            self.classifier = Classifier(self.package, config.model.runtime, config.model.threads)
            if taught is not None and paths.taught_head(taught).exists():
                self.classifier.head = self._taught_head(
                    taught, recorder, cache_dir is not None, busy
                )
            policy = policy_of(config, self.classifier)
            self.pins = open_factory(config.chute.pins, config.chute.board)
            stack.callback(self.pins.close)
            self.outputs = stack.enter_context(Outputs(config.outputs, self.pins))
            self.outputs.light(True)
            self.sensors = stack.enter_context(Sensors(config.sensors, self.pins, clock))
            self.chute = stack.enter_context(Chute(config.chute, config.routes, self.pins, clock))
            self._ticker = self._start_ticker(stack)
            self._await_light()
            self.camera = camera if camera is not None else open_camera(config.camera, clock)
            stack.callback(self._close_camera)
            self.chamber = self._open_chamber()
            known = (
                reference is not None
                and config.chamber.reference == "saved"
                and self.chamber.load(reference)
            )
            self._save_due = clock.monotonic() + (SAVE_REFERENCE_S if known else 0.0)
            sorter = Sorter(
                lambda looks, readings, item, several: decide(
                    looks, policy, readings, item.area, several
                ),
                self.chamber.is_same,
                looks=config.decision.looks,
                clear_s=config.chute.clear_s,
                chute_in_view=config.chute.in_view,
            )
            self.cycle = Cycle(
                chamber=self.chamber,
                classifier=self.classifier,
                sorter=sorter,
                chute=self.chute,
                read=self.sensors.read,
                panel=self.outputs,
                recorder=recorder,
                clock=clock,
                session=session,
                model=self.classifier.id,
                boot_id=boot_id(),
                told=told,
                noticed=self._keeping.noticed if self._keeping else None,
            )
            self._stack = stack.pop_all()
        self._home_pending = config.chute.homing == "auto"
        self._dropped = False
        self._bad_frames = 0

    def _taught_head(
        self, state: Path, recorder: Recorder, keep: bool, busy: Callable[[str], None]
    ) -> Head | None:
        """What the bin was taught, for this network; an alert where not all can be used."""
        from bin_daemon.teaching.activation import head_for

        head, words = head_for(
            self.classifier,
            self._config,
            state,
            keep=keep,
            tell=lambda words: busy(f"learning anew: {words}"),
        )
        if words:
            log.warning("%s", words)
            now = self._clock.time()
            recorder.raise_alert(Alert("teaching", Severity.WARNING, words, now))
        return head

    def _start_ticker(self, stack: contextlib.ExitStack) -> ChuteThread | None:
        if isinstance(self._clock, SimulatedClock):
            self._clock.watchers.append(self.chute.tick)
            return None
        return stack.enter_context(ChuteThread(self.chute))

    def _start_keeping(self, stack: contextlib.ExitStack, folder: Path | None) -> Keeping | None:
        keep = self._config.teaching.keep
        if folder is None or not (keep.unsure or keep.corrected):
            return None
        from bin_daemon.model.head import Base
        from bin_daemon.teaching.collector import Keeping

        return stack.enter_context(Keeping(folder, keep, Base.of(self.package), self._clock))

    def correct(self, event_id: str, label: str) -> None:
        """Keep the picture of an item as one of `label`; from any thread.

        Raises UsageError where no route takes such items or the picture cannot be had.
        """
        if label not in self._config.route_of:
            known = ", ".join(sorted(self._config.route_of))
            raise UsageError(f"no route takes '{label}'; the classes of this bin: {known}")
        if self._keeping is None:
            raise UsageError("this bin keeps no pictures of items; see teaching.keep")
        self._keeping.correct(event_id, label)

    def problems(self) -> tuple[str, ...]:
        """What the operator should know, though it does not keep the bin from sorting."""
        return self._keeping.problems() if self._keeping else ()

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
        """Wait until the lamp, just switched on, is steady: the camera finds its exposure in it."""
        if light := self._config.outputs.light:
            self._clock.sleep(light.warmup_s)

    def _wants_light(self) -> bool:
        return bool(self.sensors.read().interlocked) or self.chute.stage is not Stage.RESTING

    def beats(self) -> Mapping[str, float]:
        """Last sign of life of each thread of the bin, in `time.monotonic` seconds.

        chute: 20 ms apart, none under a simulated clock. fill: at most 1 s apart, where there are
        fill sensors.
        """
        chute_at = None if self._ticker is None else self._ticker.beat_at
        beats = {"chute": chute_at, "fill": self.sensors.beat_at}
        return {name: at for name, at in beats.items() if at is not None}

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
        self._tell_scene()
        return observation

    def _home_when_clear(self, observation: Observation) -> None:
        if not self._home_pending or self.cycle.frozen or observation.view in _NO_HOMING:
            return
        self._home_pending = False
        if self.chute.stage is Stage.RESTING:  # else a route is under way, which goes home first
            self.chute.home(gentle=True)

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
        with contextlib.ExitStack() as last:
            last.push(self._stack.pop_all())
            self.cycle.interrupt()
            self._save_reference()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _save_reference(self) -> None:
        """Keep the empty view for the next start; a disk that takes nothing costs only that."""
        if self._reference is None or self.chamber.reference is None:
            return
        try:
            self.chamber.save(self._reference)
        except (BinDaemonError, OSError) as error:
            log.warning("the empty view is not kept: %s", error)

    def _close_camera(self) -> None:
        self.camera.close()  # whichever it is by now

    def _tell_scene(self) -> None:
        """Let a simulated scene react to what the machine does."""
        if isinstance(self.camera, Reactive):
            dropped, self._dropped = self._dropped, self.chute.dropped
            self.camera.cycle(self.cycle.state, self.chute.dropped and not dropped)
