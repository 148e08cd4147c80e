"""The chute on gpiozero's simulated pins: what the servos see, pulse by pulse."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bin_daemon.chute.chute import Chute, ChuteState
from bin_daemon.config.hardware import ChuteSection
from bin_daemon.config.load import validate
from bin_daemon.config.sections import Route
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import ChuteError, UsageError
from bin_daemon.gpio.factory import FRAME_S, open_factory

FRAME_US = 20_000
DISC, TRAP = 12, 13
SPEED_DEG_S = 100.0
TWO_SERVOS = {
    "pins": "mock",
    "servos": {
        "disc": {"pin": DISC, "speed_deg_s": SPEED_DEG_S},
        "trap": {"pin": TRAP, "speed_deg_s": 2 * SPEED_DEG_S},
    },
    "poses": {
        "home": {"disc": 0, "trap": 0},
        "glass": {"disc": 50},
        "paper": {"disc": -50, "trap": 0},
        "drop": {"trap": 80},
        "both": {"disc": 50, "trap": 80},
    },
    "homing_speed": 0.25,
    "detach_after_s": 0.3,
}
ROUTES = {
    "glass": {"takes": ["glass"], "steps": [{"pose": "glass"}, {"pose": "drop", "hold_s": 0.5}]},
    "paper": {"takes": ["paper"], "steps": [{"pose": "paper"}, {"pose": "drop", "hold_s": 0.5}]},
    "both": {"takes": [], "steps": [{"pose": "both", "hold_s": 0.1}]},
}


class Rig:
    """A chute on simulated pins under a simulated clock, with an eye on every tick.

    seen: for each tick its time in s and the angle that each pin's pulse means, None for silence.
    """

    def __init__(self, config=TWO_SERVOS, routes=ROUTES):
        self.clock = SimulatedClock()
        self.factory = open_factory("mock")
        self.config = validate(ChuteSection, config)
        routes = {name: validate(Route, route) for name, route in routes.items()}
        self.servo_by_pin = {servo.pin: servo for servo in self.config.servos.values()}
        self.chute = Chute(self.config, routes, self.factory, self.clock)
        self.seen = []

    def angle(self, pin):
        return self.angle_of(pin, self.factory.pin(pin).state)

    def angle_of(self, pin, duty):
        """The angle that a servo on `pin` takes at this duty cycle; None without pulses."""
        if not duty:
            return None
        servo = self.servo_by_pin[pin]
        share = (duty * FRAME_US - servo.min_pulse_us) / (servo.max_pulse_us - servo.min_pulse_us)
        return servo.min_angle_deg + share * (servo.max_angle_deg - servo.min_angle_deg)

    def tick(self, times=1):
        for _ in range(times):
            self.clock.sleep(FRAME_S)
            self.chute.tick()
            angles = {pin: self.angle(pin) for pin in self.servo_by_pin}
            self.seen.append((self.clock.monotonic(), angles))

    def run(self, until, limit_s=60):
        """Tick until `until()`, and return the seconds that took."""
        start = self.clock.monotonic()
        while not until():
            assert self.clock.monotonic() - start < limit_s, "it takes too long"
            self.tick()
        return self.clock.monotonic() - start

    def rest(self):
        return self.run(lambda: self.chute.state is ChuteState.RESTING)

    def homed(self):
        """This rig after homing, with everything seen so far forgotten."""
        self.chute.home()
        self.rest()
        self.seen.clear()
        for pin in self.servo_by_pin:
            self.factory.pin(pin).clear_states()
        return self

    def recorded(self, pin):
        """Every angle that the pin was ever told, in order, as gpiozero recorded it."""
        return [self.angle_of(pin, state.state) for state in self.factory.pin(pin).states]

    def silent(self):
        return all(self.angle(pin) is None for pin in self.servo_by_pin)


@pytest.fixture
def rig():
    return Rig()


@pytest.fixture
def homed(rig):
    return rig.homed()


def steps(angles):
    """The changes between each two angles that follow each other, silence left out."""
    there = [angle for angle in angles if angle is not None]
    return [abs(b - a) for a, b in itertools.pairwise(there)]


# --- before it moves -----------------------------------------------------------------------------


def test_construction_and_ticking_send_no_pulse(rig):
    rig.tick(100)

    assert rig.recorded(DISC) == rig.recorded(TRAP) == [None]
    assert rig.chute.state is ChuteState.RESTING
    assert not rig.chute.homed


def test_homing_sends_the_home_pulse_alone_long_enough_for_a_servo_that_lies_elsewhere(rig):
    rig.chute.home()
    duration_s = rig.rest()

    full_travel_s = 180 / SPEED_DEG_S
    assert rig.recorded(DISC) == rig.recorded(TRAP) == [None, pytest.approx(0.0), None]
    assert duration_s == pytest.approx(full_travel_s + 0.3, abs=2 * FRAME_S)
    assert rig.chute.homed


def test_a_route_before_homing_goes_home_first(rig):
    rig.chute.start("glass")
    rig.tick()
    first = rig.chute.state

    rig.run(lambda: rig.chute.state is ChuteState.DELIVERING)

    assert first is ChuteState.HOMING
    assert rig.chute.homed
    assert rig.recorded(DISC) == [None, pytest.approx(0.0)]


def test_a_route_that_arrives_while_homing_waits_for_its_end(rig):
    rig.chute.home()
    rig.tick(10)

    rig.chute.start("glass")
    left_s = rig.run(lambda: rig.chute.state is ChuteState.DELIVERING)

    assert left_s == pytest.approx(180 / SPEED_DEG_S - 10 * FRAME_S, abs=2 * FRAME_S)
    assert rig.chute.homed


# --- a route -------------------------------------------------------------------------------------


def test_a_route_plays_its_poses_in_order_and_comes_home(homed):
    homed.chute.start("glass")
    homed.rest()

    assert max(a for a in homed.recorded(DISC) if a is not None) == pytest.approx(50.0)
    assert max(a for a in homed.recorded(TRAP) if a is not None) == pytest.approx(80.0)
    trap_opens_s = next(t for t, angles in homed.seen if (angles[TRAP] or 0) > 0.1)
    disc_arrives_s = next(t for t, angles in homed.seen if (angles[DISC] or 0) > 49.9)
    assert trap_opens_s > disc_arrives_s
    last = [angles for _, angles in homed.seen if angles[DISC] is not None][-1]
    assert last == {DISC: pytest.approx(0.0), TRAP: pytest.approx(0.0)}


def test_the_pulse_in_a_pose_is_the_one_the_configuration_asks_for(homed):
    homed.chute.start("glass")
    homed.run(lambda: homed.chute.dropped)

    # 50 degrees of -90 to 90 at 1000 to 2000 us, and 80 degrees.
    assert homed.factory.pin(DISC).state * FRAME_US == pytest.approx(1000 + 140 / 180 * 1000)
    assert homed.factory.pin(TRAP).state * FRAME_US == pytest.approx(1000 + 170 / 180 * 1000)


def test_no_servo_is_ever_told_to_go_faster_than_its_speed(homed):
    homed.chute.start("glass")
    homed.rest()

    assert max(steps(homed.recorded(DISC))) <= SPEED_DEG_S * FRAME_S + 1e-6
    assert max(steps(homed.recorded(TRAP))) <= 2 * SPEED_DEG_S * FRAME_S + 1e-6
    assert len(steps(homed.recorded(DISC))) > 40


def test_a_route_takes_the_time_of_its_ways_and_dwells(homed):
    homed.chute.start("glass")
    to_drop_s = homed.run(lambda: homed.chute.dropped)
    to_home_s = homed.run(lambda: homed.chute.state is ChuteState.SETTLING)

    assert to_drop_s == pytest.approx(50 / 100 + 80 / 200 + 0.5, abs=2 * FRAME_S)
    assert to_home_s == pytest.approx(50 / 100, abs=2 * FRAME_S)


def test_two_servos_of_one_pose_move_at_once_each_at_its_own_speed(homed):
    homed.chute.start("both")
    homed.tick(10)

    assert homed.angle(DISC) == pytest.approx(20.0)
    assert homed.angle(TRAP) == pytest.approx(40.0)


def test_a_servo_that_stands_still_is_driven_too_so_that_it_stands_firm(homed):
    homed.chute.start("glass")
    homed.tick()

    assert homed.angle(DISC) > 0
    assert homed.angle(TRAP) == pytest.approx(0.0)


def test_the_servos_fall_silent_once_the_chute_has_settled_at_home(homed):
    homed.chute.start("glass")
    homed.run(lambda: homed.chute.state is ChuteState.SETTLING)
    settle_s = homed.rest()
    homed.tick(100)

    assert settle_s == pytest.approx(0.3, abs=2 * FRAME_S)
    assert homed.recorded(DISC)[-2:] == [pytest.approx(0.0), None]
    assert homed.silent()
    assert homed.factory.pin(DISC).frequency is None


def test_the_item_counts_as_dropped_from_the_end_of_the_last_dwell_until_the_next_route(homed):
    homed.chute.start("glass")
    told = set()
    while homed.chute.state is not ChuteState.RESTING:
        told.add((homed.chute.state, homed.chute.dropped))
        homed.tick()
    after = homed.chute.dropped
    homed.chute.start("paper")

    assert told == {
        (ChuteState.DELIVERING, False),
        (ChuteState.RETURNING, True),
        (ChuteState.SETTLING, True),
    }
    assert after
    assert not homed.chute.dropped


def test_a_gentle_route_moves_at_the_homing_speed(homed):
    homed.chute.start("glass", gentle=True)
    homed.rest()

    assert max(steps(homed.recorded(DISC))) == pytest.approx(0.25 * SPEED_DEG_S * FRAME_S)
    assert max(a for a in homed.recorded(DISC) if a is not None) == pytest.approx(50.0)


def test_a_new_route_may_start_while_the_chute_settles(homed):
    homed.chute.start("glass")
    homed.run(lambda: homed.chute.state is ChuteState.SETTLING)
    homed.chute.start("paper")
    homed.tick()

    assert homed.chute.state is ChuteState.DELIVERING
    assert homed.angle(DISC) == pytest.approx(-SPEED_DEG_S * FRAME_S)


def test_a_late_tick_slows_the_move_instead_of_making_the_servo_leap(homed):
    homed.chute.start("glass")
    homed.tick()
    homed.clock.sleep(5.0)
    homed.tick()

    assert max(steps(homed.recorded(DISC))) <= SPEED_DEG_S * 0.1 + 1e-6
    assert homed.angle(DISC) < 50.0


def test_the_first_move_after_a_long_rest_without_ticks_starts_slowly_too(homed):
    homed.clock.sleep(3600.0)
    homed.chute.start("glass")
    homed.tick()

    assert homed.angle(DISC) == pytest.approx(SPEED_DEG_S * FRAME_S)


@settings(max_examples=40, deadline=None)
@given(
    low=st.floats(-180, -10),
    high=st.floats(10, 180),
    target=st.floats(0, 1),
    home=st.floats(0, 1),
    speed=st.floats(20, 1000),
    share=st.floats(0.1, 1),
    gentle=st.booleans(),
)
def test_any_servo_keeps_its_speed_limit_and_arrives_in_time(
    low, high, target, home, speed, share, gentle
):
    home_deg, target_deg = (min(high, low + x * (high - low)) for x in (home, target))
    servo = {"pin": 18, "min_angle_deg": low, "max_angle_deg": high, "speed_deg_s": speed}
    poses = {"home": {"flap": home_deg}, "out": {"flap": target_deg}}
    config = {"pins": "mock", "servos": {"flap": servo}, "poses": poses, "homing_speed": share}
    route = {"takes": [], "steps": [{"pose": "out"}]}
    rig = Rig(config, {"out": route}).homed()
    speed *= share if gentle else 1

    rig.chute.start("out", gentle=gentle)
    taken_s = rig.run(lambda: rig.chute.dropped, limit_s=600)

    assert rig.angle(18) == pytest.approx(target_deg, abs=1e-6)
    assert taken_s == pytest.approx(abs(target_deg - home_deg) / speed, abs=1.01 * FRAME_S)
    assert all(step <= speed * FRAME_S + 1e-6 for step in steps(rig.recorded(18)))


# --- the interlock -------------------------------------------------------------------------------


def test_hold_freezes_the_servos_with_their_pulses_on(homed):
    homed.chute.start("glass")
    homed.tick(10)
    before = homed.angle(DISC)
    homed.chute.hold()
    homed.tick(500)

    assert homed.chute.state is ChuteState.DELIVERING
    assert homed.angle(DISC) == before == pytest.approx(20.0)
    assert {angles[DISC] for _, angles in homed.seen[10:]} == {before}


def test_release_goes_on_from_there_within_the_speed_limit(homed):
    homed.chute.start("glass")
    homed.tick(10)
    homed.chute.hold()
    homed.tick(500)
    homed.chute.release()
    left_s = homed.run(lambda: homed.chute.dropped)
    homed.rest()

    assert max(steps(homed.recorded(DISC))) <= SPEED_DEG_S * FRAME_S + 1e-6
    assert left_s == pytest.approx(30 / 100 + 80 / 200 + 0.5, abs=3 * FRAME_S)


def test_hold_stops_the_dwell_of_an_open_trapdoor(homed):
    homed.chute.start("glass")
    homed.run(lambda: (homed.angle(TRAP) or 0) > 79.9)
    homed.chute.hold()
    homed.tick(200)

    assert not homed.chute.dropped
    assert homed.angle(TRAP) == pytest.approx(80.0)


def test_a_route_started_under_hold_sends_no_pulse_before_release(homed):
    homed.chute.hold()
    homed.chute.start("glass")
    homed.tick(100)
    silent = homed.silent()
    homed.chute.release()
    homed.tick()

    assert silent
    assert homed.angle(DISC) == pytest.approx(SPEED_DEG_S * FRAME_S)


def test_hold_while_homing_silences_the_servos_as_they_may_still_be_on_their_way(rig):
    rig.chute.home()
    rig.tick(10)
    rig.chute.hold()
    rig.tick(100)
    silent, state = rig.silent(), rig.chute.state
    rig.chute.release()
    duration_s = rig.rest()

    assert silent
    assert state is ChuteState.HOMING
    assert duration_s == pytest.approx(180 / SPEED_DEG_S + 0.3, abs=2 * FRAME_S)
    assert rig.chute.homed


def test_hold_at_rest_wakes_no_servo(homed):
    homed.chute.hold()
    homed.tick(100)

    assert homed.silent()
    assert homed.chute.state is ChuteState.RESTING


def test_hold_lets_a_chute_that_is_home_fall_silent(homed):
    homed.chute.start("glass")
    homed.run(lambda: homed.chute.state is ChuteState.SETTLING)
    homed.chute.hold()
    homed.rest()

    assert homed.silent()


# --- the ends ------------------------------------------------------------------------------------


def test_home_gives_up_a_route_and_ramps_back_from_where_it_is(homed):
    homed.chute.start("glass")
    homed.tick(10)
    homed.chute.home()
    back_s = homed.run(lambda: homed.chute.state is ChuteState.SETTLING)

    assert back_s == pytest.approx(20 / (0.25 * SPEED_DEG_S), abs=2 * FRAME_S)
    assert max(steps(homed.recorded(DISC))) <= SPEED_DEG_S * FRAME_S + 1e-6
    assert not homed.chute.dropped


def test_abort_silences_at_once_and_the_next_route_homes_first(homed):
    homed.chute.start("glass")
    homed.tick(10)
    homed.chute.abort()
    silent, state = homed.silent(), homed.chute.state
    homed.chute.start("glass")
    homed.tick()

    assert silent
    assert state is ChuteState.RESTING
    assert homed.chute.state is ChuteState.HOMING
    # Gently, and from where the pulses left it.
    assert homed.angle(DISC) == pytest.approx(20.0 - 0.25 * SPEED_DEG_S * FRAME_S)


def test_abort_at_rest_does_not_cost_the_homing(homed):
    homed.chute.abort()

    assert homed.chute.homed


def test_close_leaves_the_servos_detached_and_the_pins_low(homed):
    homed.chute.start("glass")
    homed.tick(10)
    homed.chute.close()
    homed.chute.close()
    homed.chute.tick()

    for pin in (homed.factory.pin(DISC), homed.factory.pin(TRAP)):
        assert not pin.state
        assert pin.frequency is None
        assert pin.function == "input"
        assert pin.pull == "down"
    assert homed.chute.state is ChuteState.RESTING


def test_an_exception_in_the_block_leaves_the_pins_low(homed):
    def work():
        with homed.chute as chute:
            chute.start("glass")
            homed.tick(10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()

    assert len(homed.recorded(DISC)) > 10
    assert homed.silent()


@pytest.mark.parametrize("function", ["output", "input"])
def test_a_signal_handler_that_closes_in_the_middle_of_a_tick_has_the_last_word(
    homed, monkeypatch, function
):
    # What the interrupted write does next: on an output it takes effect, on an input it raises.
    homed.chute.start("glass")
    homed.tick(10)
    pin = type(homed.factory.pin(DISC))
    write = pin._set_state

    def interrupted(self, value):
        homed.chute.close()
        self.function = function
        write(self, value)

    monkeypatch.setattr(pin, "_set_state", interrupted)
    homed.tick()

    assert homed.silent()
    assert homed.chute.state is ChuteState.RESTING


def test_a_pin_that_refuses_is_a_chute_error_and_silences_the_others(homed, monkeypatch):
    homed.chute.start("both")
    homed.tick(10)
    trap = homed.factory.pin(TRAP)
    write = type(trap)._set_state

    def refuse(self, value):
        if self is trap and value:
            raise OSError("bad handle")
        write(self, value)

    monkeypatch.setattr(type(trap), "_set_state", refuse)
    with pytest.raises(ChuteError, match=r"servos\.trap: GPIO 13: bad handle"):
        homed.tick()

    assert homed.silent()
    assert not homed.chute.homed


def test_pins_that_refuse_everything_do_not_keep_abort_and_close_from_ending(
    homed, monkeypatch, caplog
):
    def refuse(self, value):
        raise OSError("bad handle")

    homed.chute.start("both")
    homed.tick(10)
    monkeypatch.setattr(type(homed.factory.pin(TRAP)), "_set_frequency", refuse)

    homed.chute.abort()
    homed.chute.close()

    assert homed.chute.state is ChuteState.RESTING
    assert caplog.text.count("a servo could not be silenced") == 2
    assert "servos.disc: GPIO 12: could not be closed" in caplog.text
    assert "servos.trap: GPIO 13: could not be closed" in caplog.text


# --- misuse --------------------------------------------------------------------------------------


def test_an_unknown_route_names_the_known_ones(homed):
    with pytest.raises(UsageError, match="no route 'metal'; routes has glass, paper, both"):
        homed.chute.start("metal")


def test_a_route_cannot_start_in_the_middle_of_another(homed):
    homed.chute.start("glass")
    homed.tick()

    with pytest.raises(UsageError, match="still delivering"):
        homed.chute.start("paper")


@pytest.mark.parametrize("call", [lambda c: c.start("glass"), lambda c: c.home()])
def test_a_closed_chute_takes_no_orders(homed, call):
    homed.chute.close()

    with pytest.raises(ChuteError, match="closed"):
        call(homed.chute)


def test_what_makes_the_pulses_is_reported_by_servo(rig):
    assert rig.chute.pulses == {"disc": "simulated", "trap": "simulated"}


def test_a_pin_in_use_is_named_and_the_pins_before_it_are_given_back():
    factory, clock = open_factory("mock"), SimulatedClock()
    one = {"pins": "mock", "servos": {"flap": {"pin": TRAP}}, "poses": {"home": {"flap": 0}}}

    other = Chute(validate(ChuteSection, one), {}, factory, clock)

    # The traceback keeps the failed chute alive: its pins are free only if it gave them back.
    with pytest.raises(ChuteError, match=r"servos\.trap: GPIO 13 cannot be used") as error:
        Chute(validate(ChuteSection, TWO_SERVOS), {}, factory, clock)

    assert error.tb
    other.close()
    Chute(validate(ChuteSection, TWO_SERVOS), {}, factory, clock).close()
