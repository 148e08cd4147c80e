"""Model packages, and the one interpreter that runs them.

A crop flows in, calibrated probabilities flow out. Used from one thread only.
"""
