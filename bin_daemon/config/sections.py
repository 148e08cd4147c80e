"""The whole configuration of a bin: frozen dataclasses, one for each section.

`load` fills them from YAML: pydantic checks types, bounds and unknown keys, and `rules` whether the
parts fit together. The words under a field are its description, also in the JSON Schema that
editors complete from. This module opens no device and loads no library, pydantic included.
"""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from bin_daemon.config.hardware import ChuteSection, OutputSection, Seconds, SensorSection
from bin_daemon.config.schema import Bounds, Name, section
from bin_daemon.core.errors import ConfigError

SCHEMA_VERSION = 2
PASSWORD_VARIABLE = "BIN_DAEMON_MQTT_PASSWORD"  # noqa: S105 - the name of a variable

TopicPrefix = Annotated[str, Bounds(pattern=r"^[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*$", max_length=128)]
Share = Annotated[float, Bounds(ge=0, le=1)]
Likelihood = Annotated[float, Bounds(gt=0, lt=1)]
Cost = Annotated[float, Bounds(ge=0, le=1e6)]


@section
class BinSection:
    """Which bin this is."""

    id: Name
    """Names the bin in MQTT topics; unique in the fleet."""
    name: Annotated[str, Bounds(min_length=0, max_length=120)] = ""
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
    width: Annotated[int, Bounds(ge=160, le=4096)] = 640
    """Pixels to ask of the camera."""
    height: Annotated[int, Bounds(ge=120, le=4096)] = 480
    """Pixels to ask of the camera."""
    fps: Annotated[float, Bounds(gt=0, le=60)] = 10.0
    """Frames a second that are looked at."""
    deadline_s: Annotated[float, Bounds(gt=0, le=60)] = 2.0
    """A capture that takes longer is a fault of the camera."""
    exposure: Literal["auto", "locked"] = "auto"
    """picamera2: locked holds exposure and white balance after the warm-up, for a chamber with a
    light of its own; auto keeps following, for one that daylight reaches."""
    warmup_s: Seconds = 2.0
    """picamera2: time for exposure and white balance to find themselves."""
    focus_cm: Annotated[float, Bounds(ge=3, le=1000)] | None = None
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
    """Background left around the item in the crop."""
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
    threads: Annotated[int, Bounds(ge=1, le=8)] = 1
    """Threads of one inference."""


@section
class AreaRange:
    """The size that items of a class usually have."""

    low: Share = 0.0
    """Share of the frame, smallest usual."""
    high: Share = 1.0
    """Share of the frame, largest usual."""
    outside: Annotated[float, Bounds(gt=0, le=1)] = 0.2
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

    looks: Annotated[int, Bounds(ge=1, le=10)] = 3
    """Fresh frames that are fused."""
    residual: Name = "residual"
    """The route of what is not certain."""
    thresholds: dict[str, Share] = field(default_factory=dict)
    """By class, the probability that its route must reach; else the model's own."""
    costs: CostSection = field(default_factory=CostSection)
    evidence: EvidenceSection = field(default_factory=EvidenceSection)
    alerts: dict[str, str] = field(default_factory=dict)
    """Classes to raise an alert for, with its words."""
    full_percent: Annotated[float, Bounds(gt=0, le=100)] = 95.0
    """From this fill level a compartment takes no more."""


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
    steps: Annotated[tuple[Step, ...], Bounds(min_length=1)]
    """The moves, before going home."""


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

    host: Annotated[str, Bounds(min_length=1)]
    port: Annotated[int, Bounds(ge=1, le=65535)] = 1883
    prefix: TopicPrefix = "bins"
    """First part of every topic."""
    username: str | None = None
    password_file: Path | None = None
    """File that holds the password; else it is in $BIN_DAEMON_MQTT_PASSWORD."""
    tls: TlsSection | None = None
    keepalive_s: Annotated[int, Bounds(ge=5, le=600)] = 30
    health_interval_s: Annotated[float, Bounds(ge=1, le=3600)] = 60.0
    retry_max_s: Annotated[float, Bounds(ge=1, le=3600)] = 120.0
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

    keep_days: Annotated[float, Bounds(gt=0, le=3650)] = 90.0
    keep_items: Annotated[int, Bounds(ge=10, le=10_000_000)] = 50_000
    max_mb: Annotated[float, Bounds(ge=1, le=100_000)] = 200.0
    """Largest size of the database."""


@section
class KeepSection:
    """Which pictures of items the bin keeps by itself, for people to label and to teach it with.

    Off by default: they show what people throw away, and a hand or a name may be on them. They stay
    on the bin until somebody exports them, and `bin-daemon samples delete` deletes them.
    """

    unsure: bool = False
    """Keep a picture of each item that went to residual because its class was not certain."""
    below: Share = 0.0
    """unsure: keep one also of what was decided with a probability below this."""
    corrected: bool = False
    """Keep a picture of each item whose class somebody corrects by the command 'correct'; the
    pictures of the latest items wait for that in memory."""
    max_samples: Annotated[int, Bounds(ge=10, le=100_000)] = 2000
    """No more than so many; the oldest without a label go first, taught ones never."""
    max_mb: Annotated[float, Bounds(ge=1, le=100_000)] = 300.0
    """No more than so much disk."""
    max_days: Annotated[float, Bounds(gt=0, le=3650)] = 90.0
    """No longer than this, taught ones excepted."""


@section
class TeachingSection:
    """How the bin learns from its own pictures."""

    keep: KeepSection = field(default_factory=KeepSection)


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
    routes: Annotated[dict[Name, Route], Bounds(min_length=1)]
    sensors: SensorSection = field(default_factory=SensorSection)
    outputs: OutputSection = field(default_factory=OutputSection)
    mqtt: MqttSection | None = None
    """Leave out to run without a broker."""
    store: StoreSection = field(default_factory=StoreSection)
    teaching: TeachingSection = field(default_factory=TeachingSection)
    free_pins: tuple[int, ...] = ()
    """Reserved pins whose own function is switched off on this board."""

    @property
    def route_of(self) -> dict[str, str]:
        """The route that takes a class, for every class that has one."""
        return {label: name for name, route in self.routes.items() for label in route.takes}
