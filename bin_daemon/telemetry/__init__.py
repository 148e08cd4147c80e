"""What a bin tells its fleet over MQTT, and the door for commands that come that way."""
