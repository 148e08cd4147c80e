"""What a bin tells its fleet over MQTT, and the commands that come that way."""
