"""Data sets: pictures, classes, groups, splits, and what is wrong with them."""
