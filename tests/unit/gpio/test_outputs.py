"""Lamp, LED and buzzer on gpiozero's simulated pins, which keep every level they had."""

import time

import pytest

from bin_daemon.config.hardware import OutputSection
from bin_daemon.config.load import validate
from bin_daemon.core.errors import ChuteError
from bin_daemon.gpio.factory import open_factory
from bin_daemon.gpio.outputs import BEEP_S, FAST_BLINK_S, SLOW_BLINK_S, Mode, Outputs

LIGHT, LED, BUZZER = 17, 22, 25
HIGH = {"light": {"pin": LIGHT}, "led": {"pin": LED}, "buzzer": {"pin": BUZZER}}
LOW = {name: {**output, "active": "low"} for name, output in HIGH.items()}
SLACK_S = 0.1  # of a machine that does something else as well


@pytest.fixture
def factory():
    return open_factory("mock")


def outputs_of(factory, raw) -> Outputs:
    return Outputs(validate(OutputSection, raw), factory)


def levels(factory) -> list[float]:
    return [factory.pin(pin).state for pin in (LIGHT, LED, BUZZER)]


def changes(factory, pin, within_s: float) -> list[tuple[float, bool]]:
    """How long each level lasted and what came then, from now on."""
    factory.pin(pin).clear_states()
    time.sleep(within_s)
    return [(state.timestamp, bool(state.state)) for state in factory.pin(pin).states][1:]


@pytest.mark.parametrize(("raw", "off"), [(HIGH, 0), (LOW, 1)])
def test_at_first_all_is_off_and_each_is_an_output(factory, raw, off):
    with outputs_of(factory, raw):
        assert levels(factory) == [off] * 3
        assert {factory.pin(pin).function for pin in (LIGHT, LED, BUZZER)} == {"output"}


@pytest.mark.parametrize(("raw", "off"), [(HIGH, 0), (LOW, 1)])
def test_close_leaves_every_line_at_its_off_level_and_held_there(factory, raw, off):
    outputs = outputs_of(factory, raw)
    outputs.light(True)
    outputs.show(Mode.TROUBLE)
    outputs.beep(3)
    outputs.close()
    outputs.close()

    assert levels(factory) == [off] * 3
    pulls = {factory.pin(pin).pull for pin in (LIGHT, LED, BUZZER)}
    assert pulls == {"up" if off else "down"}
    assert changes(factory, BUZZER, 0.3) == changes(factory, LED, 0.3) == []


def test_the_lamp_is_switched_as_it_is_wired(factory):
    with outputs_of(factory, LOW) as outputs:
        outputs.light(True)
        assert levels(factory) == [0, 1, 1]
        outputs.light(False)
        assert levels(factory) == [1, 1, 1]


@pytest.mark.parametrize(("active", "duty"), [("high", 0.3), ("low", 0.7)])
def test_a_lamp_below_full_brightness_is_dimmed_faster_than_a_camera_sees(factory, active, duty):
    lamp = {"light": {"pin": LIGHT, "brightness": 0.3, "active": active}}
    with outputs_of(factory, lamp) as outputs:
        outputs.light(True)
        assert factory.pin(LIGHT).state == pytest.approx(duty)
        assert factory.pin(LIGHT).frequency == 1000
        outputs.light(False)
        assert factory.pin(LIGHT).state == 1 - (active == "high")
        outputs.light(True)

    assert factory.pin(LIGHT).state == (0 if active == "high" else 1)


@pytest.mark.parametrize("mode", [Mode.READY, Mode.BUSY])
def test_the_led_is_steady_while_the_bin_works(factory, mode):
    with outputs_of(factory, HIGH) as outputs:
        outputs.show(mode)
        assert factory.pin(LED).state == 1
        assert changes(factory, LED, 0.2) == []


def test_trouble_blinks_fast_and_showing_it_again_does_not_disturb_it(factory):
    with outputs_of(factory, HIGH) as outputs:
        outputs.show(Mode.TROUBLE)
        time.sleep(FAST_BLINK_S / 2)
        factory.pin(LED).clear_states()
        for _ in range(10):
            outputs.show(Mode.TROUBLE)
            time.sleep(0.05)
        seen = factory.pin(LED).states

    assert [bool(state.state) for state in list(seen)[1:4]] == [False, True, False]
    assert list(seen)[2].timestamp == pytest.approx(FAST_BLINK_S, abs=SLACK_S)


def test_held_blinks_slowly_and_ready_ends_it_at_once(factory):
    with outputs_of(factory, HIGH) as outputs:
        outputs.show(Mode.HELD)
        ((lit_s, then),) = changes(factory, LED, SLOW_BLINK_S + SLACK_S)
        began = time.monotonic()
        outputs.show(Mode.READY)

        assert (lit_s, then) == (pytest.approx(SLOW_BLINK_S, abs=SLACK_S), False)
        assert time.monotonic() - began < SLACK_S
        assert factory.pin(LED).state == 1


@pytest.mark.parametrize("times", [1, 3])
def test_the_buzzer_sounds_so_often_and_nobody_waits_for_it(factory, times):
    with outputs_of(factory, HIGH) as outputs:
        factory.pin(BUZZER).clear_states()
        began = time.monotonic()
        outputs.beep(times)
        assert time.monotonic() - began < BEEP_S
        time.sleep(times * 2 * BEEP_S + SLACK_S)

        sounded = [bool(state.state) for state in factory.pin(BUZZER).states][1:]
        assert sounded == [True, False] * times


def test_a_bin_without_outputs_takes_every_call(factory):
    with Outputs(OutputSection(), factory) as outputs:
        outputs.light(True)
        outputs.show(Mode.TROUBLE)
        outputs.beep(1)

    assert not factory.pins


def test_a_pin_that_fails_is_logged_once_and_stops_nothing(factory, caplog):
    with outputs_of(factory, HIGH) as outputs:
        factory.pin(LIGHT).function = "input"  # as another program would
        outputs.light(True)
        outputs.light(True)
        outputs.show(Mode.READY)
        assert factory.pin(LED).state == 1
        assert caplog.text.count("outputs.light.pin: GPIO 17 does not answer") == 1


def test_a_pin_in_use_is_named_and_the_pins_before_it_are_released(factory):
    led = outputs_of(factory, {"led": {"pin": LED}})

    # The traceback keeps the failed outputs alive: their pins are free only if given back.
    with pytest.raises(ChuteError, match=r"outputs\.led\.pin: GPIO 22 cannot be used") as error:
        outputs_of(factory, HIGH)

    assert error.tb
    led.close()
    outputs_of(factory, HIGH).close()
