"""What surrounds a residue to be designed: its place told from the chain (trace), counts, the nearest one by one, and heads."""
