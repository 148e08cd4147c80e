"""From a trained or foreign network to one int8 TFLite file with metadata and golden inputs."""
