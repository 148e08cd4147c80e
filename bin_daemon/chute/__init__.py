"""Servo motion: routes in, pulses out. gpiozero is loaded by the first pin, not by this import."""

from bin_daemon.chute.chute import Chute, ChuteState, Stage
from bin_daemon.chute.ticker import TICK_S, ChuteThread
from bin_daemon.gpio.factory import open_factory

__all__ = ["TICK_S", "Chute", "ChuteState", "ChuteThread", "Stage", "open_factory"]
