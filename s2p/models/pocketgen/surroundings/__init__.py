"""Residue types from what surrounds a residue."""
