"""Labelled chains, public data sets, splits and homology."""
