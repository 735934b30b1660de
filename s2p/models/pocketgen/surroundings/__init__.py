"""Surroundings of a residue to be designed: its position from the chain (trace), counts, single neighbours, and heads."""
