"""The daemon: what sorts, what watches over it, and what it reports. It parses no arguments."""
