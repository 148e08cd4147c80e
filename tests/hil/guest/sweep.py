"""Hold a servo at evenly spaced angles, one after the other (sweep.py CONFIG COUNT).

Prints [wanted pulse in microseconds, from, to] for each, times on CLOCK_MONOTONIC. It uses the pins
of the installed package.
"""

import json
import sys
import time
from pathlib import Path

from bin_daemon.config.load import load_config
from bin_daemon.gpio.factory import ServoPin, open_factory

config = load_config(Path(sys.argv[1]))
count = int(sys.argv[2])
factory = open_factory(config.chute.pins, config.chute.board)
((name, servo),) = config.chute.servos.items()
pin = ServoPin(factory, name, servo)
marks = []
for i in range(count):
    share = i / (count - 1)
    pin.set_angle(servo.min_angle_deg + share * (servo.max_angle_deg - servo.min_angle_deg))
    time.sleep(0.1)
    since = time.monotonic()
    time.sleep(1.2)
    wanted_us = servo.min_pulse_us + share * (servo.max_pulse_us - servo.min_pulse_us)
    marks.append((wanted_us, since, time.monotonic()))
pin.close()
factory.close()
print(json.dumps(marks))
