"""Kalasanty: pocket segmentation on a grid of atom features."""
