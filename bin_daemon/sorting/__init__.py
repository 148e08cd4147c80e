"""What to do with an item: the sort cycle as a state machine, and the decision on its route.

Observations, predictions and readings flow in, actions flow out. Pure: no I/O, clocks or threads.
"""
