"""Lamp, LED and buzzer on gpiozero's simulated pins, which keep every level they had."""

import time

import pytest
from waiting import wait_until

from bin_daemon.config.hardware import OutputSection
from bin_daemon.config.load import validate
from bin_daemon.core.errors import ChuteError
from bin_daemon.gpio.factory import open_factory
from bin_daemon.gpio.outputs import BEEP_S, FAST_BLINK_S, SLOW_BLINK_S, Mode, Outputs

LIGHT, LED, BUZZER = 17, 22, 25
HIGH = {"light": {"pin": LIGHT}, "led": {"pin": LED}, "buzzer": {"pin": BUZZER}}
LOW = {name: {**output, "active": "low"} for name, output in HIGH.items()}


@pytest.fixture
def factory():
    return open_factory("mock")


def outputs_of(factory, raw) -> Outputs:
    return Outputs(validate(OutputSection, raw), factory)


def levels(factory) -> list[float]:
    return [factory.pin(pin).state for pin in (LIGHT, LED, BUZZER)]


def history(factory, pin) -> list[tuple[float, bool]]:
    """How long each level lasted and what came then, since the pin's record was cleared."""
    return [(state.timestamp, bool(state.state)) for state in factory.pin(pin).states][1:]


def changes(factory, pin, within_s: float) -> list[tuple[float, bool]]:
    """What happens on a pin from now on."""
    factory.pin(pin).clear_states()
    time.sleep(within_s)
    return history(factory, pin)


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
        factory.pin(LED).clear_states()
        outputs.show(Mode.TROUBLE)

        def six_changes() -> bool:
            outputs.show(Mode.TROUBLE)
            return len(history(factory, LED)) >= 6

        wait_until(six_changes, "the LED to blink")
        seen = history(factory, LED)

    assert [level for _, level in seen[:6]] == [True, False] * 3
    # A level may last longer on a machine that does something else as well, but not each time.
    lasted_s = [passed for passed, _ in seen[1:6]]
    assert FAST_BLINK_S * 0.95 < min(lasted_s) < SLOW_BLINK_S / 2


def test_held_blinks_slowly_and_ready_ends_it_at_once(factory):
    with outputs_of(factory, HIGH) as outputs:
        outputs.show(Mode.HELD)
        factory.pin(LED).clear_states()
        wait_until(lambda: history(factory, LED), "the LED to go out")
        outputs.show(Mode.READY)
        assert factory.pin(LED).state == 1

        (lit_s, lit), *_ = history(factory, LED)
        assert not lit
        assert lit_s > SLOW_BLINK_S * 0.95


@pytest.mark.parametrize("times", [1, 3])
def test_the_buzzer_sounds_so_often_and_nobody_waits_for_it(factory, times):
    with outputs_of(factory, HIGH) as outputs:
        factory.pin(BUZZER).clear_states()
        outputs.beep(times)
        when_it_returned = len(history(factory, BUZZER))
        wait_until(lambda: len(history(factory, BUZZER)) >= 2 * times, "the last beep to end")
        time.sleep(2 * BEEP_S)

        assert when_it_returned < 2 * times
        assert [level for _, level in history(factory, BUZZER)] == [True, False] * times


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
