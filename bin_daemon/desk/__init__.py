"""The bin on a desk: a demo with a private broker. Nothing in service needs it."""
