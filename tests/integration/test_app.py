"""The whole daemon in one process: drawn scenes, mock pins, the shipped model, a real store."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import socket
import threading
from pathlib import Path

import pytest
from mqtt_parts import Broker
from scenes import EMPTY, config, hold, write_script
from waiting import wait_until

from bin_daemon.camera import Camera, open_camera
from bin_daemon.control.dispatcher import Dispatcher
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import (
    AlreadyRunningError,
    CameraError,
    CameraFinishedError,
    ConfigError,
    ModelError,
    PictureError,
    StoreError,
    UsageError,
)
from bin_daemon.core.messages import Outcome, Readings, SortEvent, View
from bin_daemon.daemon.app import App
from bin_daemon.daemon.bin import Bin
from bin_daemon.daemon.reporter import Reporter
from bin_daemon.sorting.sorter import State
from bin_daemon.store.history import History
from bin_daemon.telemetry.publisher import Publisher

LONG_EMPTY = {"empty": "empty.png", "frames": 40}


def play(tmp_path: Path, *steps, **sections) -> list[SortEvent]:
    """Run the daemon over a scene; returns its events, oldest first."""
    script = write_script(tmp_path, *steps)
    app = App(config(script, **sections), tmp_path / "state", SimulatedClock())
    app.run()
    return stored(tmp_path / "state")


def stored(state: Path) -> list[SortEvent]:
    with History(state / "events.db") as history:
        return history.recent(1000)[::-1]


def test_every_item_is_one_event_in_order(tmp_path):
    events = play(tmp_path, hold("red"), EMPTY, hold("blue"), EMPTY, hold("red"), EMPTY)
    assert [event.seq for event in events] == [1, 2, 3]
    assert {event.session for event in events} == {1}
    assert all(event.outcome in (Outcome.SORTED, Outcome.REJECTED) for event in events)
    assert events[0].item["centre"][0] == pytest.approx(315 / 640, abs=0.05)
    assert set(events[0].timings_ms) == {"settle", "look", "classify", "move", "clear"}
    assert events[0].model.startswith("waste6@")


def test_an_empty_a_dark_and_a_covered_chamber_are_no_events(tmp_path):
    assert play(tmp_path, {"blocked": "dark.png", "frames": 40}, EMPTY) == []


def test_a_hand_is_no_event(tmp_path):
    assert play(tmp_path, {"hand": "arm.png", "frames": 8}, EMPTY) == []


def test_two_items_go_to_residual(tmp_path):
    (event,) = play(tmp_path, hold("two"), EMPTY)
    assert (event.route, event.outcome) == ("residual", Outcome.REJECTED)
    assert event.reason == "two or more separate items"


def test_a_stuck_item_is_one_jammed_event(tmp_path):
    (event,) = play(tmp_path, hold("red", stuck=5), EMPTY)
    assert event.outcome is Outcome.JAMMED


def test_an_item_that_leaves_at_the_second_try_is_no_jam(tmp_path):
    (event,) = play(tmp_path, hold("red", stuck=1), EMPTY)
    assert event.outcome in (Outcome.SORTED, Outcome.REJECTED)


def test_sessions_count_up_and_the_empty_view_is_kept(tmp_path):
    play(tmp_path, hold("red"), EMPTY)
    assert (tmp_path / "state" / "reference.npz").exists()
    events = play(tmp_path, hold("blue"), EMPTY)
    assert [event.session for event in events] == [1, 2]


def test_a_second_daemon_on_the_same_state_is_refused(tmp_path):
    script = write_script(tmp_path, EMPTY)
    first = App(config(script), tmp_path / "state", SimulatedClock())
    with pytest.raises(AlreadyRunningError, match="another bin-daemon uses"):
        App(config(script), tmp_path / "state", SimulatedClock())
    first.run()
    App(config(script), tmp_path / "state", SimulatedClock()).run()


def test_a_state_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write there"):
        App(config(write_script(tmp_path, EMPTY)), tmp_path / "file" / "state", SimulatedClock())


def test_a_missing_model_ends_the_start_and_frees_the_lock(tmp_path):
    script = write_script(tmp_path, EMPTY)
    with pytest.raises(ModelError, match="no model package"):
        App(config(script, model={"name": "none"}), tmp_path / "state", SimulatedClock()).run()
    App(config(script), tmp_path / "state", SimulatedClock()).run()


def test_a_model_with_a_class_that_no_route_takes_is_refused(tmp_path):
    settings = config(write_script(tmp_path, EMPTY))
    routes = {"residual": settings.routes["residual"]}
    with pytest.raises(ConfigError, match="no route takes 'glass'"):
        App(dataclasses.replace(settings, routes=routes), tmp_path, SimulatedClock()).run()


class Recorded:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[SortEvent] = []
        self.outcomes: list[Outcome] = []
        self.alerts: list[str] = []

    def decided(self, event):
        self.events.append(event)

    def completed(self, event_id, outcome, finished_at, timings_ms):
        assert event_id == self.events[-1].id
        self.outcomes.append(outcome)

    def raise_alert(self, alert):
        self.alerts.append(f"+{alert.kind}")

    def resolve_alert(self, kind):
        self.alerts.append(f"-{kind}")


@pytest.fixture
def recorded():
    return Recorded()


def test_closing_in_the_middle_of_an_item_ends_it_as_interrupted_with_quiet_servos(
    tmp_path, recorded
):
    clock = SimulatedClock()
    with Bin(config(write_script(tmp_path, hold("red"))), clock, recorded) as parts:
        while parts.cycle.state is not State.SORTING:
            parts.step()
        clock.sleep(0.1)
        servo = parts.chute
    assert recorded.outcomes == [Outcome.INTERRUPTED]
    assert servo.state == "resting"


def test_nothing_moves_before_the_view_is_known_to_be_clear(tmp_path, recorded):
    with Bin(config(write_script(tmp_path, LONG_EMPTY)), SimulatedClock(), recorded) as parts:
        seen = parts.step()
        while seen.view is View.LEARNING:
            assert not parts.chute.homed
            assert parts.chute.state == "resting"
            seen = parts.step()
        for _ in range(30):
            parts.step()
        assert parts.chute.homed


def test_homing_can_be_left_to_the_operator(tmp_path, recorded):
    settings = config(write_script(tmp_path, LONG_EMPTY))
    manual = dataclasses.replace(settings.chute, homing="manual")
    settings = dataclasses.replace(settings, chute=manual)
    with Bin(settings, SimulatedClock(), recorded) as parts:
        for _ in range(20):
            parts.step()
        assert not parts.chute.homed


def test_an_open_lid_stops_everything_until_it_is_shut(tmp_path, recorded):
    sensors = {"lid": {"pin": 5, "active": "low", "debounce_s": 0}}
    clock = SimulatedClock()
    script = write_script(tmp_path, hold("red"), EMPTY)
    with Bin(config(script, sensors=sensors), clock, recorded) as parts:
        lid = parts.pins.pin(5)
        lid.drive_low()
        for _ in range(40):
            parts.step()
        assert recorded.events == []
        assert not parts.chute.homed
        lid.drive_high()
        with pytest.raises(CameraFinishedError):
            while True:
                parts.step()
    assert len(recorded.outcomes) == 1


def test_a_full_compartment_is_reported_and_resolved(tmp_path, broker: Broker, listen):
    sensors = {"full": {"recyclables": {"pin": 16, "active": "low", "debounce_s": 0}}}
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    script = write_script(tmp_path, {"empty": "empty.png", "frames": 600})
    ear = listen(broker)
    app = App(config(script, sensors=sensors, mqtt=mqtt), tmp_path / "state")
    daemon = threading.Thread(target=app.run)
    daemon.start()
    try:
        told = "bins/b1/fill/recyclables"
        alert = "bins/b1/alert/full_recyclables"
        wait_until(lambda: ear.payloads(told), "the fill level")
        app.bin.pins.pin(16).drive_low()
        (words,) = wait_until(lambda: [p for p in ear.payloads(alert) if p], "the alert")
        app.bin.pins.pin(16).drive_high()
        wait_until(lambda: ear.payloads(alert)[-1] == "", "the alert to end")
    finally:
        app.stop()
        daemon.join(10)
    assert "empty it" in json.loads(words)["message"]
    assert [json.loads(p)["percent"] for p in ear.payloads(told)] == [0.0, 100.0, 0.0]


def test_a_fill_sensor_without_an_echo_is_reported_as_a_problem_and_a_level_that_is_unknown(
    tmp_path, broker: Broker, listen
):
    fill = {"recyclables": {"trigger": 16, "echo": 20, "empty_cm": 60, "full_cm": 10}}
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    settings = config(tmp_path, sensors={"fill": fill}, mqtt=mqtt)
    clock = SimulatedClock()
    publisher = Publisher(settings, tmp_path, clock, Dispatcher({}, clock))
    reporter = Reporter(settings, tmp_path, clock, publisher)
    ear = listen(broker)
    publisher.start()
    try:
        told, alert = "bins/b1/fill/recyclables", "bins/b1/alert/full_recyclables"
        reporter.report(Readings(fill_percent={"recyclables": 96.0}))
        wait_until(lambda: any(ear.payloads(alert)), "the alert of a full compartment")
        reporter.report(Readings(silent=("recyclables",)), ("a problem",))
        wait_until(lambda: len(ear.payloads(told)) == 2, "the level to be unknown")
        (words,) = wait_until(lambda: ear.payloads("bins/b1/health")[1:], "the problem")
        assert all(ear.payloads(alert))  # it stays until it is known to be over
        reporter.report(Readings(fill_percent={"recyclables": 3.0}))
        wait_until(lambda: ear.payloads(alert)[-1] == "", "the alert to end")
    finally:
        publisher.close()
    levels = [json.loads(payload) for payload in ear.payloads(told)]
    assert [level["percent"] for level in levels] == [96.0, None, 3.0]
    assert {level["source"] for level in levels} == {"ultrasonic"}
    problems = ["a problem", "the fill sensor of 'recyclables' gives no echo; clean it"]
    assert json.loads(words)["problems"] == problems


class Failing(Camera):
    """A camera that gives some frames of another and then none."""

    def __init__(self, camera, good: int) -> None:
        self._camera, self._good = camera, good

    def capture(self, deadline_s):
        self._good -= 1
        if self._good < 0:
            raise CameraError("no frame within 2 s; check the cable")
        return self._camera.capture(deadline_s)

    def close(self):
        self._camera.close()


def test_a_camera_that_stalls_is_opened_once_more_and_sorting_goes_on(tmp_path, caplog):
    settings = config(write_script(tmp_path, hold("red"), EMPTY))
    clock = SimulatedClock()
    camera = Failing(open_camera(settings.camera, clock), 5)
    with caplog.at_level(logging.ERROR):
        App(settings, tmp_path / "state", clock, camera).run()
    assert "opening the camera once more" in caplog.text
    assert len(stored(tmp_path / "state")) == 1


def test_a_camera_that_does_not_come_back_ends_the_daemon(tmp_path, monkeypatch):
    settings = config(write_script(tmp_path, EMPTY))
    clock = SimulatedClock()
    camera = open_camera(settings.camera, clock)
    monkeypatch.setattr("bin_daemon.daemon.bin.open_camera", lambda *_: Failing(camera, 0))
    with pytest.raises(CameraError, match="check the cable"):
        App(settings, tmp_path / "state", clock, Failing(camera, 5)).run()


def test_single_bad_frames_are_skipped_and_many_are_a_fault(tmp_path, recorded):
    with Bin(config(write_script(tmp_path, LONG_EMPTY)), SimulatedClock(), recorded) as parts:
        good = parts.chamber.observe

        def refuse(frame):
            raise PictureError("frame is NaN")

        parts.chamber.observe = refuse
        assert [parts.step() for _ in range(9)] == [None] * 9
        parts.chamber.observe = good
        assert parts.step() is not None
        parts.chamber.observe = refuse
        with pytest.raises(CameraError, match="10 unusable frames in a row: frame is NaN"):
            for _ in range(10):
                parts.step()


def test_systemd_is_told_ready_only_when_frames_come_and_stopping_at_the_end(tmp_path, monkeypatch):
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.fspath(address))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(address))
        app = App(config(write_script(tmp_path, EMPTY)), tmp_path / "state", SimulatedClock())
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        app.run()
        assert manager.recv(100).startswith(b"READY=1")
        assert manager.recv(100) == b"STOPPING=1\nSTATUS=stopping"


def test_orders_are_refused_while_there_is_nothing_to_order(tmp_path):
    app = App(config(write_script(tmp_path, EMPTY)), tmp_path / "state", SimulatedClock())
    with pytest.raises(UsageError, match="still starting"):
        app.verbs["pause"]({})
    app.run()
    with pytest.raises(UsageError, match="takes no arguments, not now"):
        app.verbs["pause"]({"now": True})


def test_orders_from_another_thread_are_carried_out_between_frames(tmp_path):
    script = write_script(tmp_path, {"empty": "empty.png", "frames": 20}, hold("red"), EMPTY)
    app = App(config(script), tmp_path / "state", SimulatedClock())
    states = []

    def order() -> None:
        if app.bin is not None and not app.bin.cycle.counts:
            states.append(app.bin.cycle.state)
            if len(states) == 1:
                app.verbs["pause"]({})
            if app.bin.cycle.state is State.PAUSED and app.clock.monotonic() > 2.5:
                app.verbs["resume"]({})

    app.clock.watchers.append(order)
    app.run()
    assert State.PAUSED in states
    assert len(stored(tmp_path / "state")) == 1


def test_homing_and_learning_are_refused_while_an_item_is_sorted(tmp_path):
    app = App(config(write_script(tmp_path, hold("red"), EMPTY)), tmp_path / "s", SimulatedClock())
    refused = []

    def order() -> None:
        if app.bin is not None and app.bin.cycle.state is State.SORTING and not refused:
            for verb in ("home", "learn"):
                with pytest.raises(UsageError, match="the bin is sorting"):
                    app.verbs[verb]({})
                refused.append(verb)

    app.clock.watchers.append(order)
    app.run()
    assert refused == ["home", "learn"]
