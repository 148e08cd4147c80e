"""What must survive a power cut: the SQLite store of events, delivered or not.

Events flow in, history and the outbox flow out. The network is not known here.
"""
