"""Trainings: the loops, the fine-tuning of a shipped package, the rehearsal of every backbone."""
