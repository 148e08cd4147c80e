"""Finds the poses of a chute by hand: keys flow in, an angle to send and lines to show flow out.

It has no clock, pins or terminal of its own: `press` takes one key, `advance` lets time pass and
moves the angle. It writes nothing; `stored` is what the person wants to keep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from bin_daemon.chute.chute import HOME
from bin_daemon.config.hardware import ChuteSection, Servo

STEPS_DEG = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
PAGE_DEG = 10.0
_POSE_NAME = re.compile(r"[a-zA-Z0-9_-]+")  # `config.Name`
_NAME_LENGTH = 24
_POSES_SHOWN = 10  # more would push the help off a terminal of 24 lines

HELP = (
    "up k, down j  one step    PgUp, PgDn  10 degrees    + -  size of the step",
    "0  home                   1-9, g  go to a pose      s  store   Tab  next servo",
    "q  quit: shows what is to be written, and asks",
)


class PoseEditor:
    """Where the servos are, where the current one is to go, and what was stored.

    chute: servos and poses. servo: the one to begin with; the first by default.
    """

    def __init__(self, chute: ChuteSection, servo: str | None = None) -> None:
        self._chute, self.servo = chute, servo or next(iter(chute.servos))
        self._angles_deg = dict(chute.poses[HOME])
        self._target_deg = self._angles_deg[self.servo]
        self._step = STEPS_DEG.index(1.0)
        self._awake: set[str] = set()
        self._rested_s = 0.0
        self._asking: str | None = None
        self._typed = ""
        self.pose = HOME
        self.stored: dict[tuple[str, str], float] = {}
        self.said, self.done = "", False

    @property
    def angle_deg(self) -> float:
        """Where the current servo is, as far as pulses can tell."""
        return self._angles_deg[self.servo]

    @property
    def pulsing(self) -> bool:
        """Whether the current servo is to have pulses.

        Not before the first key, since the first pulse makes it jump, nor after a rest.
        """
        return self.servo in self._awake and self._rested_s <= self._chute.detach_after_s

    @property
    def poses(self) -> Mapping[str, float | None]:
        """The angle of the current servo in every pose, with what was stored; None: none."""
        found = {name: angles.get(self.servo) for name, angles in self._chute.poses.items()}
        for (pose, servo), angle_deg in self.stored.items():
            found[pose] = angle_deg if servo == self.servo else found.get(pose)
        return found

    def advance(self, passed_s: float) -> None:
        """Let time pass: the servo follows its target no faster than its speed."""
        if self.servo not in self._awake:
            return
        way_deg = self._target_deg - self.angle_deg
        most_deg = self._chute.servos[self.servo].speed_deg_s * passed_s
        self._rested_s = 0.0 if way_deg else self._rested_s + passed_s
        there = abs(way_deg) <= most_deg
        moved_deg = self.angle_deg + math.copysign(most_deg, way_deg)
        self._angles_deg[self.servo] = self._target_deg if there else moved_deg

    def press(self, key: str) -> None:
        """Take a key: a character, or up, down, pgup, pgdn, tab, enter, escape, backspace."""
        self.said = ""
        if self._asking is not None:
            self._type(key)
        elif key == "q":
            self.done = True
        elif key == "tab":
            self._next_servo()
        elif self.servo not in self._awake:
            self._awake.add(self.servo)
            self._rested_s = 0.0
            self.said = f"pulses on: {self.servo} goes to {self.angle_deg:g}"
        else:
            self._command(key)

    def _command(self, key: str) -> None:
        step = STEPS_DEG[self._step]
        moves = {"up": step, "k": step, "down": -step, "j": -step}
        moves |= {"pgup": PAGE_DEG, "pgdn": -PAGE_DEG}
        if key in moves:
            self._go(self._target_deg + moves[key])
        elif key in "+=":
            self._step = min(self._step + 1, len(STEPS_DEG) - 1)
        elif key == "-":
            self._step = max(self._step - 1, 0)
        elif key == "0":
            self._go_to_pose(HOME)
        elif key.isdecimal() and int(key) <= len(self.poses):
            self._go_to_pose(list(self.poses)[int(key) - 1])
        elif key in ("g", "s"):
            self._asking, self._typed = key, ""
        else:
            self.said = "this key does nothing; see the last lines"

    def _go(self, angle_deg: float) -> None:
        servo = self._chute.servos[self.servo]
        low, high = servo.min_angle_deg, servo.max_angle_deg
        self._target_deg = min(max(round(angle_deg, 3), low), high)
        self._rested_s = 0.0
        if not low <= angle_deg <= high:
            self.said = f"{self._target_deg:g} is as far as {self.servo} may go"

    def _go_to_pose(self, name: str) -> None:
        if name not in self.poses:
            self.said = f"there is no pose '{name}'"
            return
        self.pose = name
        if (angle_deg := self.poses[name]) is None:
            self.said = f"'{name}' has no angle for {self.servo} yet; s stores one"
        else:
            self._go(angle_deg)

    def _next_servo(self) -> None:
        names = list(self._chute.servos)
        self.servo = names[(names.index(self.servo) + 1) % len(names)]
        self._target_deg = self.angle_deg
        self._rested_s = self._chute.detach_after_s + 1.0  # it stands: silent until it moves

    def _type(self, key: str) -> None:
        if key == "escape":
            self._asking = None
        elif key == "backspace":
            self._typed = self._typed[:-1]
        elif key == "enter":
            act = self._go_to_pose if self._asking == "g" else self._store
            self._asking = None
            act(self._typed or self.pose)
        elif _POSE_NAME.fullmatch(key) and len(key) == 1 and len(self._typed) < _NAME_LENGTH:
            self._typed += key

    def _store(self, name: str) -> None:
        self.pose = name
        if self._chute.poses.get(name, {}).get(self.servo) == self._target_deg:
            self.stored.pop((name, self.servo), None)
        else:
            self.stored[name, self.servo] = self._target_deg
        self.said = f"stored: {name} is {self._target_deg:g} for {self.servo}"

    def lines(self) -> list[str]:
        """What to show, 80 columns wide."""
        servo = self._chute.servos[self.servo]
        shown = [
            f"{self.servo}  {self.angle_deg:7.1f} deg  {pulse_us(servo, self.angle_deg):6.0f} us  "
            f"{'pulses on' if self.pulsing else 'silent'}",
            _ruler(servo, self.angle_deg),
            f"step {STEPS_DEG[self._step]:g} deg, at most {servo.speed_deg_s:g} deg/s",
            "",
        ]
        numbered = list(enumerate(self.poses.items(), start=1))
        middle = list(self.poses).index(self.pose) - _POSES_SHOWN // 2
        first = max(0, min(middle, len(numbered) - _POSES_SHOWN))
        for number, (name, angle_deg) in numbered[first : first + _POSES_SHOWN]:
            angle = "    -" if angle_deg is None else f"{angle_deg:7.1f}"
            new = "  (stored, not written yet)" if (name, self.servo) in self.stored else ""
            mark = ">" if name == self.pose else " "
            shown.append(f"{mark} {number if number < 10 else ' '}  {name:<16} {angle:>7}{new}")
        return [*shown, "", self._prompt(), "", *HELP]

    def _prompt(self) -> str:
        if self._asking is not None:
            act = f"store {self._target_deg:g} as" if self._asking == "s" else "go to"
            return f"{act} which pose? [{self.pose}] {self._typed}_"
        if self.servo not in self._awake:
            jump = f"{self.servo} will JUMP to {self.angle_deg:g} deg with its first pulse"
            return f"{jump}: hands away, then any key"
        return self.said


def pulse_us(servo: Servo, angle_deg: float) -> float:
    """The width of the pulse that stands for an angle, in microseconds."""
    range_us = servo.max_pulse_us - servo.min_pulse_us
    return servo.min_pulse_us + _share(servo, angle_deg) * range_us


def _share(servo: Servo, angle_deg: float) -> float:
    """Where an angle lies in the range of its servo, 0 to 1."""
    return (angle_deg - servo.min_angle_deg) / (servo.max_angle_deg - servo.min_angle_deg)


def _ruler(servo: Servo, angle_deg: float, width: int = 50) -> str:
    at = round(_share(servo, angle_deg) * (width - 1))
    bar = "-" * at + "|" + "-" * (width - 1 - at)
    return f"{servo.min_angle_deg:g} [{bar}] {servo.max_angle_deg:g}"
