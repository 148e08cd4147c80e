"""The parts of a bin's configuration that have a wire: servos and their poses, sensors, outputs.

`sections` gathers them into the whole; what it says of descriptions and libraries holds here too.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from bin_daemon.config.schema import Bounds, Name, section

Seconds = Annotated[float, Bounds(ge=0, le=3600)]
Pin = Annotated[int, Bounds(ge=0, le=27)]


@section
class Servo:
    """One hobby servo."""

    pin: Pin
    """GPIO number (BCM), or the channel on a PCA9685 board, 0 to 15."""
    min_angle_deg: Annotated[float, Bounds(ge=-360, le=360)] = -90.0
    max_angle_deg: Annotated[float, Bounds(ge=-360, le=360)] = 90.0
    min_pulse_us: Annotated[int, Bounds(ge=400, le=2600)] = 1000
    """Pulse at min_angle_deg."""
    max_pulse_us: Annotated[int, Bounds(ge=400, le=2600)] = 2000
    """Pulse at max_angle_deg."""
    speed_deg_s: Annotated[float, Bounds(gt=0, le=1000)] = 180.0
    """No faster than this."""

    def __post_init__(self) -> None:
        if self.min_angle_deg >= self.max_angle_deg:
            raise ValueError("min_angle_deg must be below max_angle_deg")
        if self.min_pulse_us >= self.max_pulse_us:
            raise ValueError("min_pulse_us must be below max_pulse_us; swap the angles to reverse")


@section
class BoardSection:
    """A PCA9685 servo board, which makes the pulses of up to 16 servos by itself."""

    bus: Annotated[int, Bounds(ge=0, le=63)] = 1
    """The I2C bus: 1 is on pins 2 and 3 of the header."""
    address: Annotated[int, Bounds(ge=0x40, le=0x7F)] = 0x40
    """Its I2C address, as its jumpers say."""
    oscillator_hz: Annotated[float, Bounds(ge=23e6, le=27e6)] = 25e6
    """The true speed of its clock, where somebody has measured it."""


@section
class ChuteSection:
    """What moves the items."""

    pins: Literal["mock", "auto", "pwm", "lgpio", "pca9685"]
    """What makes the servos' pulses. auto: the kernel's hardware PWM for each servo whose pin and
    boot overlay allow it, else lgpio. pwm: hardware PWM or an error. lgpio: pulses timed in
    software, on any pin. pca9685: a servo board. mock: gpiozero's own simulated pins."""
    board: BoardSection = field(default_factory=BoardSection)
    servos: Annotated[dict[Name, Servo], Bounds(min_length=1)]
    poses: dict[Name, dict[Name, float]]
    """Angles in degrees by servo, for each named pose; 'home' is where it rests."""
    homing: Literal["auto", "manual"] = "auto"
    """auto: go home once, slowly, when the daemon is ready."""
    homing_speed: Annotated[float, Bounds(gt=0, le=1)] = 0.25
    """Share of the servo's speed while homing and retrying."""
    detach_after_s: Seconds = 0.3
    """Rest before the pulses are switched off."""
    clear_s: Seconds = 0.5
    """Time for an item to be gone once it was dropped."""
    in_view: bool = False
    """The camera sees the chute move: while it does, only the lid switch stops it."""


@section
class Input:
    """A switch or digital sensor."""

    pin: Pin
    """GPIO number (BCM)."""
    active: Literal["high", "low"] = "low"
    """The level that means yes."""
    pull: Literal["auto", "up", "down", "none"] = "auto"
    """The resistor in the Pi. auto: up for active low, down for active high."""
    debounce_s: Seconds = 0.02


@section
class Ultrasonic:
    """An ultrasonic distance sensor above a compartment (HC-SR04 and its kin)."""

    trigger: Pin
    """GPIO number (BCM) that asks."""
    echo: Pin
    """GPIO number (BCM) that hears; 3.3 V at most."""
    empty_cm: Annotated[float, Bounds(gt=0, le=400)]
    """Distance to the bottom of the empty compartment."""
    full_cm: Annotated[float, Bounds(gt=0, le=400)]
    """Distance to what lies there when it is full."""
    interval_s: Annotated[float, Bounds(ge=1, le=3600)] = 30.0
    """Time between measurements."""
    stale_s: Annotated[float, Bounds(ge=2, le=86400)] = 300.0
    """After so long without an echo the level is unknown."""

    def __post_init__(self) -> None:
        if self.full_cm >= self.empty_cm:
            raise ValueError("full_cm must be below empty_cm: the sensor looks down")
        if self.stale_s <= self.interval_s:
            raise ValueError("stale_s must be above interval_s")


@section
class SensorSection:
    """What else the bin feels."""

    lid: Input | None = None
    """Says yes while the lid is open: no motion then."""
    beam: Input | None = None
    """Says yes while something reaches through the opening: no motion then."""
    metal: Input | None = None
    """Says yes while metal lies in the chamber."""
    full: dict[Name, Input] = field(default_factory=dict)
    """By route: says yes while the compartment is full."""
    fill: dict[Name, Ultrasonic] = field(default_factory=dict)
    """By route: how full the compartment is."""

    def switches(self) -> dict[str, Input]:
        """Every switch and digital sensor that the bin has, by its key, as "full.paper"."""
        named = {"lid": self.lid, "beam": self.beam, "metal": self.metal}
        found = {name: switch for name, switch in named.items() if switch}
        return found | {f"full.{route}": switch for route, switch in self.full.items()}


@section
class Output:
    """Something that is switched."""

    pin: Pin
    """GPIO number (BCM)."""
    active: Literal["high", "low"] = "high"
    """The level that switches it on."""


@section
class Light:
    """The lamp of the chamber."""

    pin: Pin
    """GPIO number (BCM)."""
    active: Literal["high", "low"] = "high"
    """The level that switches it on."""
    when: Literal["always", "looking"] = "always"
    """looking: on while an item is looked at; a dark chamber wakes by sensors.beam or
    sensors.lid."""
    brightness: Annotated[float, Bounds(gt=0, le=1)] = 1.0
    """Below 1 it is dimmed by PWM, which cameras may see as stripes."""
    warmup_s: Annotated[float, Bounds(ge=0, le=10)] = 0.3
    """Time until its light is steady."""
    linger_s: Annotated[float, Bounds(ge=1, le=600)] = 5.0
    """looking: it stays on for so long after the chamber is empty."""


@section
class OutputSection:
    """What the bin shows of itself."""

    light: Light | None = None
    led: Output | None = None
    """Status lamp. On: ready. Slow blinking: held or paused. Fast blinking: needs somebody."""
    buzzer: Output | None = None
    """One that sounds by itself. Short: an item was taken. Three times: needs somebody."""

    def named(self) -> dict[str, Light | Output]:
        """Every output that the bin has, by its key."""
        named = {"light": self.light, "led": self.led, "buzzer": self.buzzer}
        return {name: output for name, output in named.items() if output}

    def apart(self) -> dict[str, OutputSection]:
        """A section for each of them alone: one whose pin is taken keeps no other from working."""
        apart: dict[str, Any] = self.named()
        return {name: OutputSection(**{name: output}) for name, output in apart.items()}
