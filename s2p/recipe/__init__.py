"""How the shipped checkpoint is made: ``python -m s2p.recipe``."""

from s2p.recipe.data import Data, Site

__all__ = ["Data", "Site"]
