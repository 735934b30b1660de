"""Code that only the notebooks use."""
