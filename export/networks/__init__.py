"""The networks: their layers, their weights, their embeddings."""
