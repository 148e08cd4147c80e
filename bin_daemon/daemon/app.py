"""The daemon around a `Bin`: lock, store, MQTT, supervision, and the verbs for whoever controls it.

It builds the parts from a configuration, starts them, and stops them in reverse; after too many
failures it stays up without them, degraded. It neither sorts nor decides. Only the command line,
the demo and the benchmark import this module.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bin_daemon.camera import Camera
from bin_daemon.config.sections import Config
from bin_daemon.control.dispatcher import Dispatcher
from bin_daemon.core import paths
from bin_daemon.core.clock import Clock, SystemClock
from bin_daemon.core.errors import BinDaemonError, CameraError, CameraFinishedError, UsageError
from bin_daemon.core.messages import Alert, Readings, Severity
from bin_daemon.daemon import lock
from bin_daemon.daemon.bin import Bin, Files
from bin_daemon.daemon.failures import LIMIT, Failures
from bin_daemon.daemon.reporter import Reporter
from bin_daemon.daemon.verbs import VerbQueue
from bin_daemon.daemon.watchdog import DEADLINES_S, Supervisor, Watchdog, longest_pass_s, notify
from bin_daemon.sorting.sorter import State
from bin_daemon.telemetry.publisher import Publisher

log = logging.getLogger(__name__)

DEGRADED = "degraded"  # the alert, and the state on its topic
RETRY_S = 600.0  # between attempts to leave degraded mode
# Between two reports of a start that takes long. The longest step is one fit to all pictures that
# may be kept: less than a minute on the slowest board.
PROGRESS_S = 90.0

# After `stop` the whole of closing may take so long; what is left of it is for telemetry.
STOP_S = 4.0
LEAST_CLOSE_S, MOST_CLOSE_S = 0.5, 3.0


class _Interrupted(BaseException):
    """Raised where the main thread waits for a device while the daemon is to stop."""


class App:
    """The daemon: a `Bin` with its lock, store, telemetry, supervision and verbs.

    state: the folder it writes to. camera: instead of the configured one. taught: whether it uses
    what it was taught. `bin` is None until all of it is built, and in degraded mode. `verbs`, by
    name, may be called from any thread, `stop` also from a signal handler, `interrupt` from a
    handler in the thread of `run`.
    """

    def __init__(
        self,
        config: Config,
        state: Path | None = None,
        clock: Clock | None = None,
        camera: Camera | None = None,
        taught: bool = True,
    ) -> None:
        self.config, self._taught, self._camera = config, taught, camera
        self._state = state or paths.state()
        self.clock = clock or SystemClock()
        # Plain values: a signal handler must not wait for a lock that the thread below it holds.
        self._stopping_at: float | None = None
        self._interruptible = self._online = False
        self.bin: Bin | None = None
        self._absent = "the bin is still starting; try again in a moment"
        self._commands = VerbQueue(self._running)
        self.verbs = self._commands.verbs
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock.hold(self._state))
            dispatcher = Dispatcher(self.verbs, self.clock)
            self.publisher = Publisher(config, self._state, self.clock, dispatcher)
            stack.callback(self._close_publisher)
            self._stack = stack.pop_all()
        self._failures = Failures(self._state, self.clock)
        self._reporter = Reporter(config, self._state, self.clock, self.publisher)

    def run(self, drain_s: float = 0.0, ready: Callable[[], object] = lambda: None) -> None:
        """Sort until `stop`, or to the end of a replay.

        drain_s: how long to wait, at the end, for the broker to take what it has not got yet.
        ready: called once, when the camera delivers or degraded mode is entered.
        Raises BinDaemonError where a part fails for good; everything is closed by then.
        """
        self._ready = ready
        real_clock = SystemClock()  # for beats and the watchdog, whatever `clock` is
        self._supervisor = Supervisor(DEADLINES_S, real_clock)
        longest_s = longest_pass_s(self.config.camera, self.config.outputs.light)
        self._watchdog = Watchdog(real_clock, longest_s)
        with self._stack, self._counted():
            if self._failures.count >= LIMIT and not self.stopping:
                self._stay_degraded()
            if not self.stopping:
                self._sort()
            if drain_s:
                self.publisher.drain(drain_s)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping_at is not None

    def stop(self) -> None:
        """End `run` after the current frame."""
        self._stopping_at = self._stopping_at or time.monotonic()

    def interrupt(self) -> None:
        """End `run` where it waits for a device; does nothing once it is closing."""
        if self._interruptible:
            self._interruptible = False
            raise _Interrupted

    def _running(self) -> Bin:
        if self.bin is None:
            raise UsageError(self._absent)
        return self.bin

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a failure of the daemon; no UsageError, which a restart cannot cure."""
        self._failures.begin()
        failure: BaseException | None = None
        try:
            try:
                self._interruptible = True
                yield
            finally:
                self._interruptible = False
        except _Interrupted:
            pass
        except BaseException as error:
            failure = None if isinstance(error, UsageError) else error
            raise
        finally:
            self._failures.end(failure)

    def _sort(self) -> None:
        with Bin(
            self.config,
            self.clock,
            self.publisher,
            camera=self._camera,
            files=Files(
                reference=self._state / "reference.npz",
                cache_dir=self._state,
                samples=paths.teaching(self._state),
                taught=self._state if self._taught else None,
            ),
            session=self.publisher.session,
            on_state=self._report_state,
            progress=self._report_progress,
        ) as self.bin:
            try:
                self._loop(self.bin)
            except BinDaemonError as error:
                log.error("%s", error)  # closing may well fail by the same cause, in other words
                raise
            finally:
                self._announce_end()

    def _loop(self, bin_: Bin) -> None:
        begun = reopened = False
        while not self.stopping:
            try:
                observation = bin_.step()
            except CameraFinishedError:
                log.info("the replay has come to its end")
                return
            except CameraError as error:
                if self.stopping:
                    return
                if reopened:
                    raise
                log.error("%s; opening the camera once more", error)
                bin_.reopen_camera()
                reopened, observation = True, None
            self._pass(bin_.beats())
            if observation is None:  # no usable frame, so no sign that reopening has helped
                continue
            reopened = False
            self._reporter.monitor.frame(observation.captured_at)
            if not begun:
                self._begin(bin_)
                begun = True
            self._commands.carry_out(bin_)
            if self._failures.good():
                self.publisher.resolve_alert(DEGRADED)
            if self._reporter.due():
                problems = (*self._failures.problems(), *bin_.problems())
                self._reporter.report(bin_.sensors.read(), problems)

    def _pass(self, beats: Mapping[str, float]) -> None:
        """Feed the watchdog where every part met its own deadline. Raises StalledError."""
        if self._online:  # before that the publisher's worker does not run
            beats = {**beats, "telemetry": self.publisher.beat()}
        self._supervisor.check(beats)
        self._watchdog.feed()

    def _begin(self, bin_: Bin) -> None:
        """The camera delivers: tell systemd, then everybody else."""
        notify("READY=1\nSTATUS=sorting")
        log.info("ready: %s on %s", bin_.classifier.id, bin_.classifier.runtime)
        self._reporter.report_info(bin_, self._failures.count)
        self._report_state(bin_.cycle.state)
        self._go_online()

    def _go_online(self) -> None:
        if not self._online:
            self.publisher.start()
            self._online = True
            self._ready()

    def _report_progress(self, message: str) -> None:
        """A start that takes long gets on: let systemd wait for it."""
        notify(f"EXTEND_TIMEOUT_USEC={int(PROGRESS_S * 1e6)}\nSTATUS={message}")
        if self._online:  # the way out of degraded mode; the first message starts the watchdog
            self._watchdog.feed(at_once=True)

    def _report_state(self, state: State) -> None:
        counts = self.bin.cycle.counts if self.bin else {}
        self.publisher.retain(self.publisher.topics.state, {"state": state, "counts": counts})

    def _stay_degraded(self) -> None:
        """Send everything to residual and raise an alert, until it is time to try again."""
        from bin_daemon.daemon.degraded import Degraded

        why = self._failures.problems()[0]
        message = (
            f"This bin does not sort: {why}. Its chute stands open to residual, where it can be "
            f"moved. Remove the cause, then restart bin-daemon; it tries again by itself every "
            f"{RETRY_S / 60:g} minutes."
        )
        log.error("degraded mode: %s", why)
        self._absent = f"the bin is degraded: {why}"
        self.publisher.raise_alert(Alert(DEGRADED, Severity.ERROR, message, self.clock.time()))
        self.publisher.retain(self.publisher.topics.state, {"state": DEGRADED, "counts": {}})
        self._reporter.report_info(None, self._failures.count)
        with Degraded(self.config, self.clock, parked=self._failures.parked) as parts:
            notify(f"READY=1\nSTATUS=degraded: {why}")
            self._go_online()
            until = self.clock.monotonic() + RETRY_S
            while not self.stopping and self.clock.monotonic() < until:
                parts.step()
                if parts.parked and not self._failures.parked:
                    self._failures.left_parked()
                self._pass({})
                if self._reporter.due():
                    self._reporter.report(Readings(), (why, *parts.problems))
                self.clock.sleep(parts.pause_s)
            if self.stopping:
                self._failures.forget()  # whoever stops it by hand wants it to sort when it starts
                self._announce_end()
                return
        log.info("leaving degraded mode: trying to sort again")
        self._watchdog.feed(at_once=True)

    def _announce_end(self) -> None:
        self._interruptible = False
        notify("STOPPING=1\nSTATUS=stopping")

    def _close_publisher(self) -> None:
        spent_s = 0.0 if self._stopping_at is None else time.monotonic() - self._stopping_at
        self.publisher.close(max(LEAST_CLOSE_S, min(MOST_CLOSE_S, STOP_S - spent_s)))
