"""bin_daemon: the daemon that runs a smart recycling bin.

A camera looks into a chamber, a quantised MobileNetV2 says what lies there, a decision says where
it goes, a chute takes it there, and the fleet hears about it over MQTT.
"""

__version__ = "0.3.0"
