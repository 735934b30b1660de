"""PocketGen: sequence and structure of a pocket for a given ligand."""
