"""Why the network said what it said: heat, masks and words drawn over a picture.

For people at a desk; `bin-daemon run` never loads it.
"""
