"""PocketGen: sequence and structure of a pocket for a given ligand."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
