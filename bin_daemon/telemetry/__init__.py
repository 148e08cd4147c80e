"""Telemetry: the event store, the MQTT contract, and remote commands."""
