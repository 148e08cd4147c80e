"""The shipped profiles: each is a valid bin that takes everything the shipped model can say."""

import functools

import pytest
import yaml

from bin_daemon.chute.chute import Chute, ChuteState
from bin_daemon.config.load import validate
from bin_daemon.config.sections import Config
from bin_daemon.core import paths
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.gpio.factory import open_factory
from bin_daemon.gpio.sensors import Sensors

PROFILES = sorted(paths.profiles().glob("*.yaml"))
HARDWARE_PWM = {12, 13, 18, 19}
# BCM2835 ARM Peripherals, table 6-31: GPIO 0 to 8 are pulled up until somebody claims them.
PULLED_UP_AT_BOOT = set(range(9))


@functools.cache
def load(path):
    return validate(Config, yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.fixture(params=PROFILES, ids=lambda path: path.stem)
def config(request):
    return load(request.param)


def test_the_four_profiles_are_there():
    names = {path.stem for path in PROFILES}

    assert names >= {"flap", "rotary_trapdoor", "four_stream", "simulator"}


def test_every_class_of_the_shipped_model_is_taken_by_a_route(config):
    labels = paths.models() / "waste6" / "labels.txt"
    if not labels.exists():
        pytest.skip("the model package is not there")

    taken = [label for route in config.routes.values() for label in route.takes]

    assert sorted(taken) == sorted(labels.read_text(encoding="utf-8").split())


def test_trash_is_residual(config):
    assert "trash" in config.routes[config.decision.residual].takes


def test_every_pose_is_within_the_range_of_its_servos_and_home_names_them_all(config):
    servos = config.chute.servos

    for angles in config.chute.poses.values():
        for name, angle in angles.items():
            assert servos[name].min_angle_deg <= angle <= servos[name].max_angle_deg
    assert set(config.chute.poses["home"]) == set(servos)


def test_servos_are_on_pins_that_can_do_hardware_pwm(config):
    assert {servo.pin for servo in config.chute.servos.values()} <= HARDWARE_PWM


def test_every_route_plays_to_its_end_on_simulated_pins(config):
    clock, factory = SimulatedClock(), open_factory("mock")
    with (
        Chute(config.chute, config.routes, factory, clock) as chute,
        Sensors(config.sensors, factory, clock) as sensors,
    ):
        if config.sensors.lid.active == "high":  # a shut lid connects the pin to ground
            factory.pin(config.sensors.lid.pin).drive_low()
        readings = sensors.read()
        for route in config.routes:
            chute.start(route)
            start = clock.monotonic()
            while chute.state is not ChuteState.RESTING:
                clock.sleep(0.02)
                chute.tick()
                assert clock.monotonic() - start < 10.0

    assert chute.dropped
    assert not readings.interlocked


def test_a_torn_wire_of_the_lid_reads_as_open():
    for path in PROFILES:
        config, clock, factory = load(path), SimulatedClock(), open_factory("mock")
        if path.stem != "simulator":  # whose lid is simulated: nobody wires it
            with Sensors(config.sensors, factory, clock) as sensors:
                assert sensors.read().lid_open, path


def test_the_simulator_needs_nothing_but_this_machine():
    config = load(paths.profiles() / "simulator.yaml")

    assert config.chute.pins == "mock"
    assert (config.camera.kind, config.camera.source) == ("replay", "reel")
    assert config.camera.loop
    assert config.mqtt is not None
    assert config.mqtt.host == "localhost"


def test_outputs_are_on_pins_that_are_low_while_the_board_boots(config):
    outputs = [config.outputs.light, config.outputs.led, config.outputs.buzzer]

    assert {output.pin for output in outputs if output}.isdisjoint(PULLED_UP_AT_BOOT)


def test_a_locked_exposure_goes_with_a_light_that_never_changes(config):
    if config.camera.exposure == "locked":
        assert config.outputs.light is not None
        assert config.outputs.light.when == "always"


def test_the_profile_for_public_places_has_every_sensor_and_every_output():
    config = load(paths.profiles() / "four_stream.yaml")

    assert config.sensors.lid
    assert config.sensors.beam
    assert config.sensors.metal
    assert set(config.sensors.full) | set(config.sensors.fill) == set(config.routes)
    assert config.outputs.light
    assert config.outputs.led
    assert config.outputs.buzzer


def test_the_profiles_of_real_bins_use_real_pins_and_the_camera_of_the_pi():
    for path in PROFILES:
        if path.stem != "simulator":
            config = load(path)
            assert config.chute.pins == "auto"
            assert config.camera.kind == "picamera2"
