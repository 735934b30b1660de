"""Predictors measured against known ligands."""
