"""lgpio as far as pins need it: lines with owners, levels, and its queue of pulse trains.

The queue follows lgPthTx.c of lg 0.2.2: a new train takes the place of one that waits, and begins
when the period under way ends; a train that is ended outright leaves the line as it is. A period
passes with each look at the queue.
"""

import types

BIAS = {0: 0, 32: 1 << 5, 64: 1 << 6, 128: 1 << 7}


class error(Exception):
    """What lgpio raises, by its name."""


class Lgpio(types.ModuleType):
    """log: every call that reaches a line, (name, line, *values)."""

    error = error
    BOTH_EDGES, RISING_EDGE, FALLING_EDGE = 3, 1, 2
    SET_PULL_UP, SET_PULL_DOWN, SET_PULL_NONE = 32, 64, 128
    TX_PWM = 0

    def __init__(self):
        super().__init__("lgpio")
        self.log = []
        self.held_by = {}  # by line: the consumer that the kernel knows
        self.function = {}
        self.bias = {}
        self.trains = {}  # by line: duty cycles in percent, the present one and the one that waits
        self.closed = False
        self.labels = {}  # of chips, by number
        self.opened = []

    def gpiochip_open(self, chip):
        self.opened.append(chip)
        return 1

    def gpio_get_chip_info(self, handle):
        return [0, 54, f"gpiochip{self.opened[-1]}", self.labels[self.opened[-1]]]

    def gpiochip_close(self, handle):
        self.closed = True

    def _claim(self, function, line, flags):
        self.log.append((function, line))
        if line in self.held_by:
            raise error("GPIO busy")
        if self.function.get(line) != function:
            self.trains.pop(line, None)
            self.bias[line] = BIAS[flags]
        self.function[line] = function

    def gpio_claim_input(self, handle, line, flags=0):
        self._claim("input", line, flags)

    def gpio_claim_output(self, handle, line, level=0, flags=0):
        self._claim("output", line, flags)

    def gpio_free(self, handle, line):
        del self.function[line]

    def gpio_get_mode(self, handle, line):
        return 2 * (self.function[line] == "output") | self.bias[line]

    def gpio_get_line_info(self, handle, line):
        return [0, line, 1, f"GPIO{line}", self.held_by.get(line, "")]

    def gpio_read(self, handle, line):
        return 0

    def gpio_write(self, handle, line, level):
        self.log.append(("write", line, level))

    def tx_pwm(self, handle, line, frequency, percent):
        self.log.append(("pwm", line, frequency, percent))
        assert self.function[line] == "output"
        if not frequency:
            self.trains.pop(line, None)
            return 10
        self.trains[line] = [*self.trains.get(line, [])[:1], percent]
        return 10 - len(self.trains[line])

    def tx_room(self, handle, line, kind):
        left = 10 - len(self.trains.get(line, []))
        self.trains[line] = self.trains.get(line, [])[-1:]
        return left
