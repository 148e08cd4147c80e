"""The bin taking orders from outside: one dispatcher, whatever channel a command comes through.

Commands flow in, answers flow out. Nothing is moved here: the verbs belong to the daemon.
"""
