"""Other published predictors of binding sites, behind the same protocol as Seq2Pocket."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

POCKET_FINDERS: tuple[str, ...] = ("kalasanty", "vabsnet")
"""Shipped checkpoints of other methods that find pockets of small molecules: what the benchmark knows by these names."""
