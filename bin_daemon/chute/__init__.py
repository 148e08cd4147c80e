"""Servo motion: routes in, pulses out. gpiozero is loaded by the first pin, not by this import."""

from bin_daemon.chute.chute import Chute, ChuteState
from bin_daemon.chute.ticker import TICK_S, ChuteThread

__all__ = ["TICK_S", "Chute", "ChuteState", "ChuteThread"]
