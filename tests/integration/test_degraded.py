"""A bin that does not sort any more: everything to residual, loud, and trying again by itself."""

from __future__ import annotations

import json
import threading

import pytest
from mqtt_parts import Broker
from scenes import EMPTY, config, hold, write_script
from waiting import wait_until

from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import CameraError, ChuteError, UsageError
from bin_daemon.daemon.app import RETRY_S, App
from bin_daemon.daemon.degraded import Degraded, silence_all
from bin_daemon.daemon.failures import LIMIT, Failures
from bin_daemon.gpio.factory import open_factory
from bin_daemon.store.history import History

LID = {"lid": {"pin": 5, "active": "low", "debounce_s": 0}}
OUTPUTS = {"led": {"pin": 22}, "buzzer": {"pin": 23}}


@pytest.fixture
def pins(monkeypatch):
    """The simulated pins that everything in the test uses, kept open."""
    factory = open_factory("mock")
    monkeypatch.setattr(factory, "close", lambda: None)
    monkeypatch.setattr("bin_daemon.daemon.degraded.open_factory", lambda *_: factory)
    return factory


def pulses_us(pin) -> list[float]:
    """Every pulse width that a servo's pin was told to make, in order."""
    return [round(state.state * 20_000) for state in pin.states if 0 < state.state < 0.5]


def claimed(factory) -> set[str]:
    """Which pins were ever asked for."""
    return {info.name for info in factory.pins}


def play(parts: Degraded, clock: SimulatedClock, seconds: float) -> None:
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        parts.step()
        clock.sleep(parts.pause_s)


def failed(state, times: int = LIMIT) -> None:
    """A bin that has failed so often."""
    state.mkdir(exist_ok=True)
    failures = Failures(state, SimulatedClock())
    failures.begin()
    for _ in range(times):
        failures.end(CameraError("there is no camera"))


def test_the_chute_goes_to_the_residual_route_and_stays_there_silent(tmp_path, pins):
    clock = SimulatedClock()
    with Degraded(config(tmp_path), clock, parked=False) as parts:
        play(parts, clock, 10)
        sent = pulses_us(pins.pin(12))
        assert (sent[0], sent[-1]) == (1500, 1833)  # home first, then +60 degrees
        assert pins.pin(12).state == 0
        assert parts.parked
        assert parts.problems == ()
        play(parts, clock, 10)
        assert pulses_us(pins.pin(12)) == sent


def test_it_stops_in_the_step_in_which_the_item_falls(tmp_path, pins):
    routes = config(tmp_path).routes
    steps = [{"pose": "left", "hold_s": 0.1}, {"pose": "right", "hold_s": 0.6}, {"pose": "home"}]
    residual = {"takes": routes["residual"].takes, "steps": steps}
    recyclables = {"takes": routes["recyclables"].takes, "steps": [{"pose": "left"}]}
    settings = config(tmp_path, routes={"recyclables": recyclables, "residual": residual})
    clock = SimulatedClock()
    with Degraded(settings, clock, parked=False) as parts:
        play(parts, clock, 10)
        assert pulses_us(pins.pin(12))[-1] == 1833


def test_an_open_lid_holds_the_chute_where_it_is(tmp_path, pins):
    clock = SimulatedClock()
    with Degraded(config(tmp_path, sensors=LID), clock, parked=False) as parts:
        pins.pin(5).drive_low()
        play(parts, clock, 5)
        assert pulses_us(pins.pin(12)) == []
        assert not parts.parked
        pins.pin(5).drive_high()
        play(parts, clock, 10)
        assert parts.parked


def test_a_parked_chute_is_not_moved_again(tmp_path, pins):
    clock = SimulatedClock()
    with Degraded(config(tmp_path), clock, parked=True) as parts:
        play(parts, clock, 5)
    assert claimed(pins) == set()


def test_a_bin_with_manual_homing_is_not_moved(tmp_path, pins):
    raw = {"pins": "mock", "homing": "manual", "servos": {"flap": {"pin": 12}}}
    raw["poses"] = {"home": {"flap": 0}, "left": {"flap": -60}, "right": {"flap": 60}}
    clock = SimulatedClock()
    with Degraded(config(tmp_path, chute=raw), clock, parked=False) as parts:
        play(parts, clock, 5)
        assert "manual" in parts.problems[0]
    assert claimed(pins) == set()


def test_the_lamp_says_trouble_and_goes_out_at_the_end(tmp_path, pins):
    clock = SimulatedClock()
    lamp = pins.pin(22)
    with Degraded(config(tmp_path, outputs=OUTPUTS), clock, parked=True):
        wait_until(lambda: lamp.state, "the lamp to light")
    assert not lamp.state


@pytest.mark.parametrize(
    "broken", ["bin_daemon.gpio.sensors.Sensors", "bin_daemon.daemon.degraded.Chute"]
)
def test_parts_that_do_not_open_are_left_out_and_reported(tmp_path, pins, monkeypatch, broken):
    def refuse(*_):
        raise ChuteError("chute.servos.flap: GPIO 12 cannot be used: busy")

    monkeypatch.setattr(broken, refuse)
    clock = SimulatedClock()
    lamp = pins.pin(22)
    with Degraded(config(tmp_path, outputs=OUTPUTS), clock, parked=False) as parts:
        play(parts, clock, 1)
        assert parts.problems == ("chute.servos.flap: GPIO 12 cannot be used: busy",)
        assert not parts.parked
        wait_until(lambda: lamp.state, "the lamp to light all the same")


def test_without_any_pins_the_bin_is_up_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise ChuteError("chute.pins: cannot open the GPIO chip")

    monkeypatch.setattr("bin_daemon.daemon.degraded.open_factory", refuse)
    with Degraded(config(tmp_path), SimulatedClock(), parked=False) as parts:
        parts.step()
        assert parts.problems == ("chute.pins: cannot open the GPIO chip",)


def test_silence_alling_leaves_every_line_low_and_moves_nothing(tmp_path, pins):
    assert silence_all(config(tmp_path, outputs=OUTPUTS)) == ()
    assert pulses_us(pins.pin(12)) == []
    assert [pins.pin(n).state for n in (12, 22, 23)] == [0, 0, 0]


def test_silence_alling_goes_on_after_a_servo_that_refuses(tmp_path, pins, monkeypatch):
    class Refusing:
        def __init__(self, *_):
            raise ChuteError("chute.servos.flap: GPIO 12 cannot be used: busy")

    monkeypatch.setattr("bin_daemon.daemon.degraded.ServoPin", Refusing)
    told = silence_all(config(tmp_path, outputs=OUTPUTS))
    assert told == ("chute.servos.flap: GPIO 12 cannot be used: busy",)
    assert claimed(pins) == {"GPIO22", "GPIO23"}


def test_after_some_failures_the_bin_is_degraded_then_tries_again_and_sorts(tmp_path):
    state = tmp_path / "state"
    failed(state)
    clock = SimulatedClock()
    script = write_script(tmp_path, hold("red"), EMPTY)
    app = App(config(script), state, clock)
    with pytest.raises(UsageError, match="still starting"):
        app.verbs["pause"]({})
    refusals = []

    def order() -> None:
        if 100 < clock.monotonic() < 101 and not refusals:
            with pytest.raises(UsageError, match="is degraded: .* there is no camera"):
                app.verbs["pause"]({})
            refusals.append(clock.monotonic())

    clock.watchers.append(order)
    app.run()
    assert refusals
    assert clock.monotonic() > RETRY_S
    with History(state / "events.db") as history:
        assert len(history.recent(10)) == 1
    kept = json.loads((state / "failures.json").read_text())
    assert (kept["count"], kept["running"], kept["parked"]) == (LIMIT, None, None)


def test_a_degraded_bin_that_is_stopped_by_hand_sorts_at_the_next_start(tmp_path):
    failed(tmp_path)
    clock = SimulatedClock()
    app = App(config(write_script(tmp_path, EMPTY)), tmp_path, clock)
    clock.watchers.append(lambda: app.stop() if clock.monotonic() > 5 else None)
    app.run()
    assert clock.monotonic() < RETRY_S
    assert json.loads((tmp_path / "failures.json").read_text())["count"] == 0


def test_a_retry_that_fails_counts_and_ends_the_daemon(tmp_path, monkeypatch):
    failed(tmp_path)

    def refuse(*_):
        raise CameraError("still no camera")

    monkeypatch.setattr("bin_daemon.daemon.bin.open_camera", refuse)
    app = App(config(write_script(tmp_path, EMPTY)), tmp_path, SimulatedClock())
    with pytest.raises(CameraError, match="still no camera"):
        app.run()
    kept = json.loads((tmp_path / "failures.json").read_text())
    assert (kept["count"], kept["last"]) == (LIMIT + 1, "still no camera")
    assert kept["parked"]


def test_the_fleet_hears_of_it_until_good_running(
    tmp_path, broker: Broker, listen, monkeypatch
):  # fmt: skip
    monkeypatch.setattr("bin_daemon.daemon.failures.GOOD_S", 5.0)
    failed(tmp_path / "state")
    mqtt = {"host": "127.0.0.1", "port": broker.port, "health_interval_s": 1}
    script = write_script(tmp_path, {"empty": "empty.png", "frames": 100})
    ear = listen(broker)
    told, alert = (f"bins/b1/{topic}" for topic in ("state", "alert/degraded"))
    clock = SimulatedClock()
    app = App(config(script, mqtt=mqtt), tmp_path / "state", clock)
    heard = threading.Event()

    def pace() -> None:  # simulated time waits until the broker has told
        if clock.monotonic() > 60 and not heard.is_set():
            wait_until(lambda: ear.payloads(alert), "the alert")
            heard.set()

    clock.watchers.append(pace)
    app.run(drain_s=5)
    wait_until(lambda: ear.payloads(alert)[-1] == "", "the alert to end")
    (words,) = {p for p in ear.payloads(alert) if p}
    assert json.loads(words)["severity"] == "error"
    assert "there is no camera" in json.loads(words)["message"]
    assert json.loads(ear.payloads(told)[0]) == {"state": "degraded", "counts": {}}
    healths = [json.loads(p)["problems"] for p in ear.payloads("bins/b1/health")]
    assert any("has failed 5 times lately" in p for problems in healths for p in problems)
    first, *_, last = [json.loads(p) for p in ear.payloads("bins/b1/info")]
    assert (first["failures"], first["model"], first["pulses"]) == (5, None, {})
    assert last["model"].startswith("waste6@")
