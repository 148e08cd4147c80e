"""What lies in the chamber: the background, what differs from it, the item cut out.

Frames flow in, observations flow out. It runs no network, starts no thread and reads no clock.
"""
