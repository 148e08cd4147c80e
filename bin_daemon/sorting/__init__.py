"""What to do with an item: the sort cycle as a state machine, and the decision on its route."""
