"""The whole configuration of a bin: frozen dataclasses, one for each section.

`config_file` fills them from YAML: pydantic checks types, bounds and unknown keys, and
`config_rules` whether the parts fit together. The words under a field are its description, which
becomes the JSON Schema that editors complete from. This module opens no device and loads no
library, pydantic included, so that a daemon whose file has not changed starts without it.
"""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from bin_daemon.errors import ConfigError
from bin_daemon.sections import Interval, Length, Matches, section

SCHEMA_VERSION = 2
PASSWORD_VARIABLE = "BIN_DAEMON_MQTT_PASSWORD"


Name = Annotated[str, Matches(r"^[a-zA-Z0-9_-]+$")]
TopicPrefix = Annotated[str, Matches(r"^[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*$")]
Share = Annotated[float, Interval(ge=0, le=1)]
Seconds = Annotated[float, Interval(ge=0, le=3600)]
Pin = Annotated[int, Interval(ge=0, le=27)]
Likelihood = Annotated[float, Interval(gt=0, lt=1)]
Cost = Annotated[float, Interval(ge=0, le=1e6)]


@section
class BinSection:
    """Which bin this is."""

    id: Name
    """Names the bin in MQTT topics; unique in the fleet."""
    name: Annotated[str, Length(0, 120)] = ""
    """What people call it."""


@section
class CameraSection:
    """Where frames come from."""

    kind: Literal["replay", "opencv", "picamera2"]
    """picamera2: camera module of the Pi. opencv: USB camera, RTSP or file. replay: a folder, clip
    or sequence script."""
    source: str = "0"
    """picamera2: number of the camera, or a part of its name. opencv: index, /dev path, rtsp://
    address or file. replay: folder, clip or script; 'reel' is the shipped demo reel."""
    width: Annotated[int, Interval(ge=160, le=4096)] = 640
    """Pixels to ask of the camera."""
    height: Annotated[int, Interval(ge=120, le=4096)] = 480
    """Pixels to ask of the camera."""
    fps: Annotated[float, Interval(gt=0, le=60)] = 10.0
    """Frames a second that are looked at."""
    deadline_s: Annotated[float, Interval(gt=0, le=60)] = 2.0
    """A capture that takes longer is a fault of the camera."""
    exposure: Literal["auto", "locked"] = "auto"
    """picamera2: locked holds exposure and white balance after the warm-up, for a chamber with a
    light of its own; auto keeps following, for one that daylight reaches."""
    warmup_s: Seconds = 2.0
    """picamera2: time for exposure and white balance to find themselves."""
    focus_cm: Annotated[float, Interval(ge=3, le=1000)] | None = None
    """picamera2: where a lens with a motor (Camera Module 3) is held; else it keeps focusing."""
    loop: bool = False
    """replay: start again at the end."""


@section
class ChamberSection:
    """How the empty chamber and the things in it are told apart."""

    region: tuple[Share, Share, Share, Share] = (0.0, 0.0, 1.0, 1.0)
    """The part of the picture to watch: left, top, right, bottom, each 0 to 1."""
    entrance: tuple[Literal["top", "right", "bottom", "left"], ...] = ("top",)
    """The borders of the region that a hand can come in from."""
    settle_s: Seconds = 0.4
    """How long an item must lie still."""
    min_area: Share = 0.004
    """Less of the region than this is no item."""
    margin: Share = 0.08
    """Ground left around the item in the crop."""
    normalise: bool = True
    """Correct the colour by the empty reference."""
    reference: Literal["saved", "learn"] = "saved"
    """saved: keep the empty view over restarts while it still fits. learn: learn it anew at every
    start."""

    def __post_init__(self) -> None:
        left, top, right, bottom = self.region
        if right - left < 0.1 or bottom - top < 0.1:
            raise ValueError("region must be [left, top, right, bottom], at least 0.1 each way")


@section
class ModelSection:
    """Which network looks."""

    name: str = "waste6"
    """A package in the model store, or a path to one."""
    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = "auto"
    """auto takes ai-edge-litert where it is installed."""
    threads: Annotated[int, Interval(ge=1, le=8)] = 1
    """Threads of one inference."""


@section
class AreaRange:
    """The size that items of a class usually have."""

    low: Share = 0.0
    """Share of the frame, smallest usual."""
    high: Share = 1.0
    """Share of the frame, largest usual."""
    outside: Annotated[float, Interval(gt=0, le=1)] = 0.2
    """Likelihood of a size beyond the range."""


@section
class EvidenceSection:
    """What other signs say of a class, as likelihoods."""

    metal_sensor: dict[str, Likelihood] = field(default_factory=dict)
    """Probability that the metal sensor fires for an item of the class; 'other' stands for the
    classes not named."""
    area: dict[str, AreaRange] = field(default_factory=dict)
    """Usual size of the items of a class."""


@section
class CostSection:
    """What it costs to send an item of a class down a route; only ratios matter."""

    residual: Cost = 1.0
    """A recyclable item in the residual route."""
    wrong: Cost = 4.0
    """An item in a route that does not take it."""
    table: dict[str, dict[str, Cost]] = field(default_factory=dict)
    """Exceptions: class -> route -> cost."""


@section
class DecisionSection:
    """How looks become a route."""

    looks: Annotated[int, Interval(ge=1, le=10)] = 3
    """Fresh frames that are fused."""
    residual: Name = "residual"
    """The route of what is not certain."""
    thresholds: dict[str, Share] = field(default_factory=dict)
    """Least probability of a class to follow it; else the model's own."""
    costs: CostSection = field(default_factory=CostSection)
    evidence: EvidenceSection = field(default_factory=EvidenceSection)
    alerts: dict[str, str] = field(default_factory=dict)
    """Classes to raise an alert for, with its words."""
    full_percent: Annotated[float, Interval(gt=0, le=100)] = 95.0
    """From this fill level a compartment takes no more."""


@section
class Servo:
    """One hobby servo."""

    pin: Pin
    """GPIO number (BCM), or the channel on a PCA9685 board, 0 to 15."""
    min_angle_deg: Annotated[float, Interval(ge=-360, le=360)] = -90.0
    max_angle_deg: Annotated[float, Interval(ge=-360, le=360)] = 90.0
    min_pulse_us: Annotated[int, Interval(ge=400, le=2600)] = 1000
    """Pulse at min_angle_deg."""
    max_pulse_us: Annotated[int, Interval(ge=400, le=2600)] = 2000
    """Pulse at max_angle_deg."""
    speed_deg_s: Annotated[float, Interval(gt=0, le=1000)] = 180.0
    """No faster than this."""

    def __post_init__(self) -> None:
        if self.min_angle_deg >= self.max_angle_deg:
            raise ValueError("min_angle_deg must be below max_angle_deg")
        if self.min_pulse_us >= self.max_pulse_us:
            raise ValueError("min_pulse_us must be below max_pulse_us; swap the angles to reverse")


@section
class Step:
    """One move of a route."""

    pose: Name
    """A pose of the chute."""
    hold_s: Seconds = 0.0
    """How long to stay once it is reached."""


@section
class Route:
    """A way out of the chamber, and what takes it."""

    takes: tuple[str, ...]
    """Classes of the model that belong here."""
    steps: Annotated[tuple[Step, ...], Length(1)]
    """The moves, before going home."""


@section
class BoardSection:
    """A PCA9685 servo board, which makes the pulses of up to 16 servos by itself."""

    bus: Annotated[int, Interval(ge=0, le=63)] = 1
    """The I2C bus: 1 is on pins 2 and 3 of the header."""
    address: Annotated[int, Interval(ge=0x40, le=0x7F)] = 0x40
    """Its I2C address, as its jumpers say."""
    oscillator_hz: Annotated[float, Interval(ge=23e6, le=27e6)] = 25e6
    """The true speed of its clock, where somebody has measured it."""


@section
class ChuteSection:
    """What moves the items."""

    pins: Literal["mock", "auto", "pwm", "lgpio", "pca9685"]
    """What makes the servos' pulses. auto: the kernel's hardware PWM for each servo whose pin and
    boot overlay allow it, else lgpio. pwm: hardware PWM or an error. lgpio: pulses timed in
    software, on any pin. pca9685: a servo board. mock: gpiozero's own simulated pins."""
    board: BoardSection = field(default_factory=BoardSection)
    servos: Annotated[dict[Name, Servo], Length(1)]
    poses: dict[Name, dict[Name, float]]
    """Angles in degrees by servo, for each named pose; 'home' is where it rests."""
    homing: Literal["auto", "manual"] = "auto"
    """auto: go home once, slowly, when the daemon is ready."""
    homing_speed: Annotated[float, Interval(gt=0, le=1)] = 0.25
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
    empty_cm: Annotated[float, Interval(gt=0, le=400)]
    """Distance to the bottom of the empty compartment."""
    full_cm: Annotated[float, Interval(gt=0, le=400)]
    """Distance to what lies there when it is full."""
    interval_s: Annotated[float, Interval(ge=1, le=3600)] = 30.0
    """Time between measurements."""
    stale_s: Annotated[float, Interval(ge=2, le=86400)] = 300.0
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
    brightness: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """Below 1 it is dimmed by PWM, which cameras may see as stripes."""
    warmup_s: Annotated[float, Interval(ge=0, le=10)] = 0.3
    """Time until its light is steady."""
    linger_s: Annotated[float, Interval(ge=1, le=600)] = 5.0
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


@section
class TlsSection:
    """Encryption towards the broker."""

    ca: Path | None = None
    """Certificate authority; else those of the system."""
    certificate: Path | None = None
    """Client certificate (PEM)."""
    key: Path | None = None
    """Key of the client certificate (PEM)."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")


@section
class MqttSection:
    """The broker that the fleet listens to."""

    host: Annotated[str, Length(1)]
    port: Annotated[int, Interval(ge=1, le=65535)] = 1883
    prefix: TopicPrefix = "bins"
    """First part of every topic."""
    username: str | None = None
    password_file: Path | None = None
    """File that holds the password; else it is in $BIN_DAEMON_MQTT_PASSWORD."""
    tls: TlsSection | None = None
    keepalive_s: Annotated[int, Interval(ge=5, le=600)] = 30
    health_interval_s: Annotated[float, Interval(ge=1, le=3600)] = 60.0
    retry_max_s: Annotated[float, Interval(ge=1, le=3600)] = 120.0
    """Longest wait between attempts."""

    def password(self) -> str | None:
        """The password, from its file or the environment; never part of a printed configuration.

        Raises ConfigError where the file cannot be read.
        """
        if self.password_file is None:
            return os.environ.get(PASSWORD_VARIABLE)
        try:
            return self.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"mqtt.password_file: cannot read it: {error}") from error


@section
class StoreSection:
    """The events on disk."""

    keep_days: Annotated[float, Interval(gt=0, le=3650)] = 90.0
    keep_items: Annotated[int, Interval(ge=10, le=10_000_000)] = 50_000
    max_mb: Annotated[float, Interval(ge=1, le=100_000)] = 200.0
    """Largest size of the database."""


@section
class Config:
    """One bin."""

    version: Literal[2]
    """Version of this layout."""
    bin: BinSection
    camera: CameraSection
    chamber: ChamberSection = field(default_factory=ChamberSection)
    model: ModelSection = field(default_factory=ModelSection)
    decision: DecisionSection = field(default_factory=DecisionSection)
    chute: ChuteSection
    routes: Annotated[dict[Name, Route], Length(1)]
    sensors: SensorSection = field(default_factory=SensorSection)
    outputs: OutputSection = field(default_factory=OutputSection)
    mqtt: MqttSection | None = None
    """Leave out to run without a broker."""
    store: StoreSection = field(default_factory=StoreSection)
    free_pins: tuple[int, ...] = ()
    """Reserved pins whose own function is switched off on this board."""
