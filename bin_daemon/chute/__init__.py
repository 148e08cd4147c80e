"""Servo motion: routes in, pulses out. gpiozero is loaded by the first pin, not by this import."""
