"""What surrounds a residue to be designed: counts of it, the nearest residues and atoms one by one, and heads that tell types."""
