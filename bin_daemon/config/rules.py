"""Whether the parts of a configuration fit together: pins, poses, routes.

A `Config` whose every value is right by itself flows in, (key, words) for each thing that is wrong
between them flows out. Pure; `load` knows which line a key stands in.
"""

from __future__ import annotations

from collections.abc import Iterator

from bin_daemon.config.hardware import SensorSection
from bin_daemon.config.sections import Config
from bin_daemon.config.validate import Fault, Key

# Header pins with a second job that the boot firmware or the kernel may have claimed.
RESERVED_PINS = {
    0: "the EEPROM of HATs",
    1: "the EEPROM of HATs",
    2: "I2C data, with a pull-up on the board",
    3: "I2C clock, with a pull-up on the board",
    14: "the serial console, which toggles at boot",
    15: "the serial console",
}

_BUS_PINS = (2, 3)
_CHANNELS = 16
# A fill sensor takes 0.6 s, or 1.5 s that end without an echo, and they take turns.
_MEASURE_S = 2.0


def faults(config: Config) -> Iterator[Fault]:
    """Everything that does not fit together, with its key."""
    yield from _pins(config)
    yield from _poses(config)
    yield from _routes(config)
    yield from _route_names(config)
    yield from _fill(config.sensors)
    if config.mqtt and config.mqtt.password_file and not config.mqtt.username:
        yield ("mqtt", "password_file"), "a password goes with a username; give mqtt.username"


def _pins(config: Config) -> Iterator[Fault]:
    """Every pin, and every channel of a servo board, serves one thing."""
    on_board = config.chute.pins == "pca9685"
    line = "channel" if on_board else "GPIO"
    used: list[tuple[str, Key, int]] = [
        (line, ("chute", "servos", name, "pin"), servo.pin)
        for name, servo in config.chute.servos.items()
    ]
    for name, switch in config.sensors.switches().items():
        used.append(("GPIO", ("sensors", *name.split("."), "pin"), switch.pin))
    for name, fill in config.sensors.fill.items():
        used.append(("GPIO", ("sensors", "fill", name, "trigger"), fill.trigger))
        used.append(("GPIO", ("sensors", "fill", name, "echo"), fill.echo))
    for name, output in config.outputs.named().items():
        used.append(("GPIO", ("outputs", name, "pin"), output.pin))
    bus: Key = ("chute", "board", "bus")
    if on_board and config.chute.board.bus == 1:
        used += [("GPIO", bus, pin) for pin in _BUS_PINS]
    owners: dict[tuple[str, int], Key] = {}
    for line, key, pin in used:
        if line == "channel" and pin >= _CHANNELS:
            yield key, f"a PCA9685 board has channels 0 to {_CHANNELS - 1}, not {pin}"
        if (owner := owners.setdefault((line, pin), key)) is not key:
            yield key, f"{line} {pin} is already used by {'.'.join(owner)}"
        if line == "GPIO" and pin in RESERVED_PINS and pin not in config.free_pins and key != bus:
            words = f"GPIO {pin} serves {RESERVED_PINS[pin]}; take another pin, or list it under "
            yield key, words + "free_pins once that is switched off"


def _fill(sensors: SensorSection) -> Iterator[Fault]:
    """No level may go stale merely because the sensors wait for each other."""
    for name, sensor in sensors.fill.items():
        least_s = sensor.interval_s + _MEASURE_S * len(sensors.fill)
        if sensor.stale_s < least_s:
            key = ("sensors", "fill", name, "stale_s")
            yield key, f"at least {least_s:g} s: the interval, and 2 s for each fill sensor"


def _poses(config: Config) -> Iterator[Fault]:
    servos, poses = config.chute.servos, config.chute.poses
    if "home" not in poses:
        yield ("chute", "poses"), "a pose named 'home' is needed: where the chute rests"
    elif missing := sorted(set(servos) - set(poses["home"])):
        words = f"no angle for {', '.join(missing)}; every servo must rest"
        yield ("chute", "poses", "home"), words
    for pose, angles in poses.items():
        for name, angle in angles.items():
            key = ("chute", "poses", pose, name)
            if (servo := servos.get(name)) is None:
                yield key, f"no such servo; chute.servos has {', '.join(servos)}"
                continue
            low, high = servo.min_angle_deg, servo.max_angle_deg
            if not low <= angle <= high:
                yield key, f"{angle:g} is outside {low:g} to {high:g} of this servo"


def _routes(config: Config) -> Iterator[Fault]:
    taken: dict[str, str] = {}
    for name, route in config.routes.items():
        for i, step in enumerate(route.steps):
            if step.pose not in config.chute.poses:
                words = f"no pose '{step.pose}'; chute.poses has {', '.join(config.chute.poses)}"
                yield ("routes", name, "steps", str(i), "pose"), words
        for label in route.takes:
            if label in taken:
                yield ("routes", name, "takes"), f"'{label}' is already taken by {taken[label]}"
            taken.setdefault(label, name)


def _route_names(config: Config) -> Iterator[Fault]:
    """Every place that names a route must name one there is."""
    known = ", ".join(config.routes)
    named: list[tuple[Key, str]] = [(("decision", "residual"), config.decision.residual)]
    for label, costs in config.decision.costs.table.items():
        named += [(("decision", "costs", "table", label, name), name) for name in costs]
    for kind, routes in (("full", config.sensors.full), ("fill", config.sensors.fill)):
        named += [(("sensors", kind, name), name) for name in routes]
    for key, name in named:
        if name not in config.routes:
            yield key, f"no route '{name}'; routes has {known}"
