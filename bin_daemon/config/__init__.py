"""The configuration: its sections, its rules, and the YAML file they are read from.

Text flows in, frozen dataclasses flow out. Nothing here opens a device.
"""
