"""A bin learns its own chamber: a linear head on the frozen embedding, from pictures taken there.

The network itself is never changed, and a bin that was taught nothing loads none of this.
"""
