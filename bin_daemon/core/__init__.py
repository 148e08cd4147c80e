"""What every room may use: messages, errors, clock, paths, files, logs, images.

It imports nothing of ours, knows no section of the configuration and opens no device.
"""
