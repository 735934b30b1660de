"""Bytes of structure files as tables of atom records, and the names of force fields."""
