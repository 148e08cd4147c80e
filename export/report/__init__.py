"""The page about a run: tables, plots, examples."""
