"""Solvent-accessible-surface points and their features."""
