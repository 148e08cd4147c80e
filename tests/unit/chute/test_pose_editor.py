"""PoseEditor by hand: what each key does, how fast the servo follows, what is stored."""

import pytest

from bin_daemon.chute.pose_editor import PoseEditor, pulse_us
from bin_daemon.cli.keyboard import decoded
from bin_daemon.config.hardware import ChuteSection, Servo

CHUTE = ChuteSection(
    pins="mock",
    servos={
        "disc": Servo(pin=12, min_angle_deg=0, max_angle_deg=180, speed_deg_s=100),
        "door": Servo(pin=13, min_angle_deg=-45, max_angle_deg=45, speed_deg_s=10),
    },
    poses={"home": {"disc": 20, "door": 0}, "paper": {"disc": 65}, "open": {"door": 40}},
    detach_after_s=0.3,
)


@pytest.fixture
def awake() -> PoseEditor:
    found = PoseEditor(CHUTE)
    found.press(" ")
    return found


def press(editor: PoseEditor, *keys: str) -> PoseEditor:
    for key in keys:
        editor.press(key)
    return editor


def arrived(editor: PoseEditor) -> float:
    for _ in range(200):
        editor.advance(0.02)
    return editor.angle_deg


def test_no_pulse_is_sent_before_a_key_and_the_jump_is_reported():
    editor = PoseEditor(CHUTE)
    editor.advance(1.0)

    assert not editor.pulsing
    assert any("disc will JUMP to 20 deg" in line for line in editor.lines())


def test_the_first_key_only_wakes_the_servo_at_home(awake):
    assert awake.pulsing
    assert arrived(awake) == 20


@pytest.mark.parametrize(
    ("keys", "angle"),
    [
        (["up"], 21),
        (["k", "k", "j"], 21),
        (["down"], 19),
        (["pgup", "pgup", "pgdn"], 30),
        (["+", "up"], 22),
        (["-", "up"], 20.5),
        (["-", "-", "-", "-", "-", "up", "up", "up"], 20.3),
        (["2"], 65),
        (["2", "0"], 20),
        (["g", "p", "a", "p", "e", "r", "enter"], 65),
        (["g", "p", "a", "x", "backspace", "p", "e", "r", "enter"], 65),
        (["g", "p", "escape", "up"], 21),
        (["x"], 20),
    ],
)
def test_keys_move_the_servo(awake, keys, angle):
    assert arrived(press(awake, *keys)) == pytest.approx(angle)


def test_the_servo_follows_no_faster_than_its_speed(awake):
    press(awake, "2")
    awake.advance(0.1)

    assert awake.angle_deg == pytest.approx(30)


def test_the_range_of_the_servo_is_kept_and_reported(awake):
    press(awake, "pgdn", "pgdn", "pgdn")

    assert arrived(awake) == 0
    assert awake.said == "0 is as far as disc may go"


def test_pulses_end_after_a_rest_and_begin_with_the_next_move(awake):
    awake.advance(0.2)
    assert awake.pulsing
    awake.advance(0.2)
    assert not awake.pulsing
    press(awake, "up")
    assert awake.pulsing


def test_the_present_angle_is_stored_under_the_pose_that_was_picked(awake):
    press(awake, "2", "up", "s", "enter")

    assert awake.stored == {("paper", "disc"): 66}
    assert awake.poses["paper"] == 66


def test_a_new_pose_is_stored_under_the_name_that_was_typed(awake):
    press(awake, "up", "s", "n", "e", "w", "enter")

    assert awake.stored == {("new", "disc"): 21}
    assert list(awake.poses) == ["home", "paper", "open", "new"]


def test_an_angle_that_is_put_back_is_not_stored(awake):
    press(awake, "2", "up", "s", "enter", "down", "s", "enter")

    assert awake.stored == {}


def test_the_next_servo_waits_for_a_key_of_its_own(awake):
    press(awake, "up", "tab")

    assert awake.servo == "door"
    assert not awake.pulsing
    assert any("door will JUMP to 0 deg" in line for line in awake.lines())


def test_a_servo_that_was_left_stays_where_it_was(awake):
    press(awake, "up")
    arrived(awake)
    press(awake, "tab", " ", "tab")

    assert (awake.servo, awake.angle_deg) == ("disc", 21)
    assert not awake.pulsing


def test_a_pose_without_this_servo_moves_nothing_and_can_get_an_angle(awake):
    press(awake, "3")
    assert arrived(awake) == 20
    assert "no angle for disc yet" in awake.said

    press(awake, "s", "enter")
    assert awake.stored == {("open", "disc"): 20}


def test_quitting_is_a_letter_like_others_while_a_name_is_typed(awake):
    assert not press(awake, "s", "q").done
    assert press(awake, "escape", "q").done


def test_the_screen_fits_a_plain_terminal(awake):
    press(awake, "2", "up", "s", "enter")
    lines = awake.lines()

    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert any("paper" in line and "66.0" in line and "not written yet" in line for line in lines)


def test_many_poses_leave_room_for_the_help_and_the_picked_one_is_among_the_shown(awake):
    for letter in "abcdefghmnoprtuvw":
        press(awake, "s", letter, "enter")
    lines = awake.lines()

    assert len(lines) <= 22
    assert any(line.startswith("> ") and " w " in line for line in lines)


def test_an_angle_is_the_pulse_that_gpiozero_makes_of_it():
    assert pulse_us(CHUTE.servos["disc"], 0) == 1000
    assert pulse_us(CHUTE.servos["disc"], 45) == 1250
    assert pulse_us(CHUTE.servos["disc"], 180) == 2000


@pytest.mark.parametrize(
    ("data", "keys", "rest"),
    [
        (b"jk", ["j", "k"], b""),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", ["up", "down", "pgup", "pgdn"], b""),
        (b"\t\r\x7f", ["tab", "enter", "backspace"], b""),
        (b"j\x1b", ["j"], b"\x1b"),
        (b"\x1b[5", [], b"\x1b[5"),
        (b"\x1b[1;5Cj", ["j"], b""),
        (b"\x1bq", ["escape", "q"], b""),
        ("é".encode(), [], b""),
    ],
)
def test_what_a_terminal_sends_becomes_keys(data, keys, rest):
    assert decoded(data) == (keys, rest)
