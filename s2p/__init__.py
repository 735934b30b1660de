"""s2p: from a protein structure to ranked, inspectable ligand-binding pockets."""

import lazy_loader

__version__ = "0.2.0"
# Names are imported when first used, so that `s2p --help` need not load NumPy and numba.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
