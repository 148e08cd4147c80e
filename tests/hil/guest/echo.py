"""What an ultrasonic sensor of the virtual Pi hears: answers each ping with an echo, until killed.

Arguments: the GPIO numbers of trigger and echo, the length of the echo in seconds. Pings come from
a trace of its own, so it takes nothing from other traces.
"""

import os
import re
import select
import sys
import time
from pathlib import Path

TRACE = Path("/sys/kernel/tracing/instances/echo")

trigger, echo, echo_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
chip = Path("/sys/devices/platform/gpio-sim.0")
(pull,) = chip.glob(f"gpiochip*/sim_gpio{echo}/pull")
first = int(re.findall(r"GPIOs (\d+)-", Path("/sys/kernel/debug/gpio").read_text())[0])

TRACE.mkdir(exist_ok=True)
# Else `select` waits until the buffer is half full.
(TRACE / "buffer_percent").write_text("0")
event = TRACE / "events/gpio/gpio_value"
(event / "filter").write_text(f"gpio == {first + trigger} && get == 0 && value == 1")
(event / "enable").write_text("1")
pings = os.open(TRACE / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
while select.select([pings], [], []):
    os.read(pings, 65536)
    until = time.monotonic() + echo_s
    pull.write_text("pull-up")
    time.sleep(max(0.0, until - time.monotonic()))
    pull.write_text("pull-down")
