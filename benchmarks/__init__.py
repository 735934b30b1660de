"""How checkpoints are made, what was studied, other pocket finders, and the results page; not installed."""
