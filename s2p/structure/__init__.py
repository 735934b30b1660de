"""Structures as plain arrays: reading files, residues, ligands, neighbours."""
