"""The daemon: what sorts, what watches over it, and what it reports.

It joins the other rooms and parses no arguments.
"""
