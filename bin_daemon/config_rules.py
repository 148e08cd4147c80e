"""Whether the parts of a configuration fit together: pins, poses, routes.

A `Config` whose every value is right by itself flows in, (key, words) for each thing that is wrong
between them flows out. Pure; which line a key stands in is `config_file`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator

from bin_daemon.checked import Fault, Key
from bin_daemon.config import Config

# Header pins with a second job that the boot firmware or the kernel may have claimed.
RESERVED_PINS = {
    0: "the EEPROM of HATs",
    1: "the EEPROM of HATs",
    2: "I2C data, with a pull-up on the board",
    3: "I2C clock, with a pull-up on the board",
    14: "the serial console, which toggles at boot",
    15: "the serial console",
}


def faults(config: Config) -> Iterator[Fault]:
    """Everything that does not fit together, with its key."""
    yield from _pins(config)
    yield from _poses(config)
    yield from _routes(config)
    yield from _route_names(config)
    if config.mqtt and config.mqtt.password_file and not config.mqtt.username:
        yield ("mqtt", "password_file"), "a password goes with a username; give mqtt.username"


def _pins(config: Config) -> Iterator[Fault]:
    inputs = {"lid": config.sensors.lid, "metal": config.sensors.metal}
    used: list[tuple[Key, int]] = [
        *((("chute", "servos", name, "pin"), s.pin) for name, s in config.chute.servos.items()),
        *((("sensors", name, "pin"), i.pin) for name, i in inputs.items() if i),
        *((("sensors", "full", name, "pin"), i.pin) for name, i in config.sensors.full.items()),
    ]
    owners: dict[int, Key] = {}
    for key, pin in used:
        if pin in owners:
            yield key, f"GPIO {pin} is already used by {'.'.join(owners[pin])}"
        owners.setdefault(pin, key)
        if pin in RESERVED_PINS and pin not in config.free_pins:
            yield (
                key,
                f"GPIO {pin} serves {RESERVED_PINS[pin]}; take another pin, "
                f"or list it under free_pins once that is switched off",
            )


def _poses(config: Config) -> Iterator[Fault]:
    servos, poses = config.chute.servos, config.chute.poses
    if "home" not in poses:
        yield ("chute", "poses"), "a pose named 'home' is needed: where the chute rests"
    elif missing := sorted(set(servos) - set(poses["home"])):
        yield (
            ("chute", "poses", "home"),
            f"no angle for {', '.join(missing)}; every servo must rest",
        )
    for pose, angles in poses.items():
        for name, angle in angles.items():
            key = ("chute", "poses", pose, name)
            servo = servos.get(name)
            if servo is None:
                yield key, f"no such servo; chute.servos has {', '.join(servos)}"
            elif not servo.min_angle_deg <= angle <= servo.max_angle_deg:
                low, high = servo.min_angle_deg, servo.max_angle_deg
                yield key, f"{angle:g} is outside {low:g} to {high:g} of this servo"


def _routes(config: Config) -> Iterator[Fault]:
    taken: dict[str, str] = {}
    for name, route in config.routes.items():
        for i, step in enumerate(route.steps):
            if step.pose not in config.chute.poses:
                key = ("routes", name, "steps", str(i), "pose")
                poses = ", ".join(config.chute.poses)
                yield key, f"no pose '{step.pose}'; chute.poses has {poses}"
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
    named += [(("sensors", "full", name), name) for name in config.sensors.full]
    for key, name in named:
        if name not in config.routes:
            yield key, f"no route '{name}'; routes has {known}"
