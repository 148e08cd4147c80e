"""The model package and its card."""
