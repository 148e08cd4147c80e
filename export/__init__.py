"""The workshop: turns a backbone and labelled pictures into the model package a bin runs.

It runs on a PC, never on a bin: `python -m export train|quantize|evaluate|package`. Each step reads
what the step before left in a run folder, so a step can be repeated without the ones before it.
TensorFlow is imported only by the steps that need it (train, quantize).
"""
