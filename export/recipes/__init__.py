"""What a training is, as strict YAML: the shipped recipes, their schema, how one is read."""
