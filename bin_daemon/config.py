"""The whole configuration of a bin, as pydantic models.

One YAML file flows in (read by `config_file`, which adds file and line to every complaint), one
frozen `Config` flows out. Unknown keys are errors; every field has a description, which becomes the
JSON Schema that editors complete from. This module never opens a device and never loads a heavy
library.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from bin_daemon.errors import ConfigError

SCHEMA_VERSION = 1
PASSWORD_VARIABLE = "BIN_DAEMON_MQTT_PASSWORD"

Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+$", max_length=64)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0, le=3600.0)]

# Header pins with a second job that the boot firmware or the kernel may have claimed.
RESERVED_PINS = {
    0: "the EEPROM of HATs",
    1: "the EEPROM of HATs",
    2: "I2C data, with a pull-up on the board",
    3: "I2C clock, with a pull-up on the board",
    14: "the serial console, which toggles at boot",
    15: "the serial console",
}


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BinSection(Section):
    """Which bin this is."""

    id: Name = Field(description="Names the bin in MQTT topics; unique in the fleet.")
    name: str = Field("", max_length=120, description="What people call it.")


class CameraSection(Section):
    """Where frames come from."""

    kind: Literal["replay", "opencv"] = Field(
        description="replay: a folder, clip or sequence script. opencv: USB camera, RTSP or file."
    )
    source: str = Field(
        description="opencv: index, /dev path, rtsp:// address or file. "
        "replay: folder, clip or script; 'reel' is the shipped demo reel."
    )
    width: int = Field(640, ge=160, le=4096, description="Pixels to ask of the camera.")
    height: int = Field(480, ge=120, le=4096, description="Pixels to ask of the camera.")
    fps: float = Field(10.0, gt=0, le=60, description="Frames a second that are looked at.")
    deadline_s: float = Field(
        2.0, gt=0, le=60, description="A capture that takes longer is a fault of the camera."
    )
    loop: bool = Field(False, description="replay: start again at the end.")


class ChamberSection(Section):
    """How the empty chamber and the things in it are told apart."""

    region: tuple[Share, Share, Share, Share] = Field(
        (0.0, 0.0, 1.0, 1.0),
        description="The part of the picture to watch: left, top, right, bottom, each 0 to 1.",
    )
    entrance: tuple[Literal["top", "right", "bottom", "left"], ...] = Field(
        ("top",), description="The borders of the region that a hand can come in from."
    )
    settle_s: Seconds = Field(0.4, description="How long an item must lie still.")
    min_area: Share = Field(0.004, description="Less of the region than this is no item.")
    margin: Share = Field(0.08, description="Ground left around the item in the crop.")
    normalise: bool = Field(True, description="Correct the colour by the empty reference.")
    reference: Literal["saved", "learn"] = Field(
        "saved",
        description="saved: keep the empty view over restarts while it still fits. "
        "learn: learn it anew at every start.",
    )

    @model_validator(mode="after")
    def _region_has_area(self) -> Self:
        left, top, right, bottom = self.region
        if right - left < 0.1 or bottom - top < 0.1:
            raise ValueError("region must be [left, top, right, bottom], at least 0.1 each way")
        return self


class ModelSection(Section):
    """Which network looks."""

    name: str = Field("waste6", description="A package in the model store, or a path to one.")
    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = Field(
        "auto", description="auto takes ai-edge-litert where it is installed."
    )
    threads: int = Field(1, ge=1, le=8, description="Threads of one inference.")


class AreaRange(Section):
    """The size that items of a class usually have."""

    low: Share = Field(0.0, description="Share of the frame, smallest usual.")
    high: Share = Field(1.0, description="Share of the frame, largest usual.")
    outside: float = Field(0.2, gt=0, le=1, description="Likelihood of a size beyond the range.")


class EvidenceSection(Section):
    """What other signs say of a class, as likelihoods."""

    metal_sensor: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict,
        description="Probability that the metal sensor fires for an item of the class; "
        "'other' stands for the classes not named.",
    )
    area: dict[str, AreaRange] = Field(
        default_factory=dict, description="Usual size of the items of a class."
    )


class CostSection(Section):
    """What it costs to send an item of a class down a route; only ratios matter."""

    residual: float = Field(1.0, ge=0, description="A recyclable item in the residual route.")
    wrong: float = Field(4.0, ge=0, description="An item in a route that does not take it.")
    table: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = Field(
        default_factory=dict, description="Exceptions: class -> route -> cost."
    )


class DecisionSection(Section):
    """How looks become a route."""

    looks: int = Field(3, ge=1, le=10, description="Fresh frames that are fused.")
    residual: Name = Field("residual", description="The route of what is not certain.")
    thresholds: dict[str, Share] = Field(
        default_factory=dict,
        description="Least probability of a class to follow it; else the model's own.",
    )
    costs: CostSection = Field(default_factory=CostSection)
    evidence: EvidenceSection = Field(default_factory=EvidenceSection)
    alerts: dict[str, str] = Field(
        default_factory=dict, description="Classes to raise an alert for, with its words."
    )
    full_percent: float = Field(
        95.0, gt=0, le=100, description="From this fill level a compartment takes no more."
    )


class Servo(Section):
    """One hobby servo."""

    pin: int = Field(ge=0, le=27, description="GPIO number (BCM).")
    min_angle_deg: float = Field(-90.0, ge=-360, le=360)
    max_angle_deg: float = Field(90.0, ge=-360, le=360)
    min_pulse_us: int = Field(1000, ge=400, le=2600, description="Pulse at min_angle_deg.")
    max_pulse_us: int = Field(2000, ge=400, le=2600, description="Pulse at max_angle_deg.")
    speed_deg_s: float = Field(180.0, gt=0, le=1000, description="No faster than this.")

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Self:
        if self.min_angle_deg >= self.max_angle_deg:
            raise ValueError("min_angle_deg must be below max_angle_deg")
        if self.min_pulse_us >= self.max_pulse_us:
            raise ValueError("min_pulse_us must be below max_pulse_us; swap the angles to reverse")
        return self


class Step(Section):
    """One move of a route."""

    pose: Name = Field(description="A pose of the chute.")
    hold_s: Seconds = Field(0.0, description="How long to stay once it is reached.")


class Route(Section):
    """A way out of the chamber, and what takes it."""

    takes: tuple[str, ...] = Field(description="Classes of the model that belong here.")
    steps: tuple[Step, ...] = Field(min_length=1, description="The moves, before going home.")


class ChuteSection(Section):
    """What moves the items."""

    pins: Literal["mock", "lgpio"] = Field(
        description="mock: gpiozero's own simulated pins. lgpio: the header of the Pi."
    )
    servos: dict[Name, Servo] = Field(min_length=1)
    poses: dict[Name, dict[Name, float]] = Field(
        description="Angles in degrees by servo, for each named pose; 'home' is where it rests."
    )
    homing: Literal["auto", "manual"] = Field(
        "auto", description="auto: go home once, slowly, when the daemon is ready."
    )
    homing_speed: Annotated[float, Field(gt=0, le=1)] = Field(
        0.25, description="Share of the servo's speed while homing and retrying."
    )
    detach_after_s: Seconds = Field(0.3, description="Rest before the pulses are switched off.")
    clear_s: Seconds = Field(0.5, description="Time for an item to be gone once it was dropped.")
    in_view: bool = Field(
        False,
        description="The camera sees the chute move: while it does, only the lid switch stops it.",
    )


class Input(Section):
    """A switch or digital sensor."""

    pin: int = Field(ge=0, le=27, description="GPIO number (BCM).")
    active: Literal["high", "low"] = Field(
        "low", description="The level that means yes; low has the pull-up on."
    )
    debounce_s: Seconds = Field(0.02)


class SensorSection(Section):
    """What else the bin feels."""

    lid: Input | None = Field(None, description="Says yes while the lid is open: no motion then.")
    metal: Input | None = Field(None, description="Says yes while metal lies in the chamber.")
    full: dict[Name, Input] = Field(
        default_factory=dict, description="By route: says yes while the compartment is full."
    )


class TlsSection(Section):
    """Encryption towards the broker."""

    ca: Path | None = Field(None, description="Certificate authority; else those of the system.")
    certificate: Path | None = Field(None, description="Client certificate (PEM).")
    key: Path | None = Field(None, description="Key of the client certificate (PEM).")

    @model_validator(mode="after")
    def _certificate_has_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class MqttSection(Section):
    """The broker that the fleet listens to."""

    host: str = Field(min_length=1)
    port: int = Field(1883, ge=1, le=65535)
    prefix: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*$")] = (
        Field("bins", description="First part of every topic.")
    )
    username: str | None = Field(None)
    password_file: Path | None = Field(
        None, description=f"File that holds the password; else the variable {PASSWORD_VARIABLE}."
    )
    tls: TlsSection | None = Field(None)
    keepalive_s: int = Field(30, ge=5, le=600)
    health_interval_s: float = Field(60.0, ge=1, le=3600)
    retry_max_s: float = Field(120.0, ge=1, le=3600, description="Longest wait between attempts.")

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


class StoreSection(Section):
    """The events on disk."""

    keep_days: float = Field(90.0, gt=0, le=3650)
    keep_items: int = Field(50_000, ge=10, le=10_000_000)
    max_mb: float = Field(200.0, ge=1, le=100_000, description="Largest size of the database.")


class Config(Section):
    """One bin."""

    version: Literal[1] = Field(description="Version of this layout.")
    bin: BinSection
    camera: CameraSection
    chamber: ChamberSection = Field(default_factory=ChamberSection)
    model: ModelSection = Field(default_factory=ModelSection)
    decision: DecisionSection = Field(default_factory=DecisionSection)
    chute: ChuteSection
    routes: dict[Name, Route] = Field(min_length=1)
    sensors: SensorSection = Field(default_factory=SensorSection)
    mqtt: MqttSection | None = Field(None, description="Leave out to run without a broker.")
    store: StoreSection = Field(default_factory=StoreSection)
    free_pins: tuple[int, ...] = Field(
        (), description="Reserved pins whose own function is switched off on this board."
    )

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        # Each complaint begins with the dotted key it is about; config_file finds the line by it.
        faults = [*self._pin_faults(), *self._pose_faults(), *self._route_faults()]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _pin_faults(self) -> list[str]:
        owners: dict[int, str] = {}
        faults = []
        used = [(f"chute.servos.{n}.pin", s.pin) for n, s in self.chute.servos.items()]
        inputs = {"lid": self.sensors.lid, "metal": self.sensors.metal}
        used += [(f"sensors.{n}.pin", i.pin) for n, i in inputs.items() if i]
        used += [(f"sensors.full.{n}.pin", i.pin) for n, i in self.sensors.full.items()]
        for key, pin in used:
            if pin in owners:
                faults.append(f"{key}: GPIO {pin} is already used by {owners[pin]}")
            owners.setdefault(pin, key)
            if pin in RESERVED_PINS and pin not in self.free_pins:
                faults.append(
                    f"{key}: GPIO {pin} serves {RESERVED_PINS[pin]}; take another pin, "
                    f"or list it under free_pins once that is switched off"
                )
        return faults

    def _pose_faults(self) -> list[str]:
        faults = []
        if "home" not in self.chute.poses:
            faults.append("chute.poses: a pose named 'home' is needed: where the chute rests")
        elif missing := set(self.chute.servos) - set(self.chute.poses["home"]):
            faults.append(
                f"chute.poses.home: no angle for {', '.join(sorted(missing))}; every servo must rest"
            )
        for pose, angles in self.chute.poses.items():
            for name, angle in angles.items():
                key = f"chute.poses.{pose}.{name}"
                servo = self.chute.servos.get(name)
                if servo is None:
                    known = ", ".join(self.chute.servos)
                    faults.append(f"{key}: no such servo; chute.servos has {known}")
                elif not servo.min_angle_deg <= angle <= servo.max_angle_deg:
                    low, high = servo.min_angle_deg, servo.max_angle_deg
                    faults.append(f"{key}: {angle:g} is outside {low:g} to {high:g} of this servo")
        return faults

    def _route_faults(self) -> list[str]:
        faults = []
        known = ", ".join(self.routes)
        if self.decision.residual not in self.routes:
            faults.append(
                f"decision.residual: no route '{self.decision.residual}'; routes has {known}"
            )
        taken: dict[str, str] = {}
        for name, route in self.routes.items():
            for i, step in enumerate(route.steps):
                if step.pose not in self.chute.poses:
                    poses = ", ".join(self.chute.poses)
                    faults.append(
                        f"routes.{name}.steps.{i}.pose: no pose '{step.pose}'; "
                        f"chute.poses has {poses}"
                    )
            for label in route.takes:
                if label in taken:
                    faults.append(
                        f"routes.{name}.takes: '{label}' is already taken by {taken[label]}"
                    )
                taken.setdefault(label, name)
        for label, costs in self.decision.costs.table.items():
            for route_name in costs:
                if route_name not in self.routes:
                    faults.append(
                        f"decision.costs.table.{label}.{route_name}: no such route; "
                        f"routes has {known}"
                    )
        for route_name in self.sensors.full:
            if route_name not in self.routes:
                faults.append(f"sensors.full.{route_name}: no such route; routes has {known}")
        return faults
