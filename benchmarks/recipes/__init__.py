"""How the shipped checkpoint is made: ``python -m benchmarks.recipes.seq2pocket``."""

from benchmarks.recipes.data import Data, Site

__all__ = ["Data", "Site"]
