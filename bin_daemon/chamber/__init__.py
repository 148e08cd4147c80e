"""What lies in the chamber: the empty background, what differs from it, the item cut out.

Frames flow in, observations flow out. Pure: no network is run here, no thread started, no clock
read.
"""
