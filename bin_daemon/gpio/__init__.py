"""Pins, pulses, sensors and outputs: the only room that drives lines.

It does what it is told and decides nothing about what should move.
"""
