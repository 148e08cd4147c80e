"""Figures of the int8 file itself, and the gate that a model must pass."""
