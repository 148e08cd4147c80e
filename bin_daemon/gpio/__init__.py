"""Pins, pulses, sensors and outputs: the only room that drives lines.

It carries out orders and decides nothing about what should move.
"""
