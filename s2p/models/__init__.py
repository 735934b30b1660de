"""Other published predictors of binding sites, behind the same protocol as Seq2Pocket."""

__all__ = ["POCKET_FINDERS"]

POCKET_FINDERS: tuple[str, ...] = ("kalasanty", "vabsnet")
"""Shipped checkpoints of other methods that find pockets of small molecules: what the benchmark knows by these names."""
