"""CrossBind: nucleic-acid binding residues from point clouds and sequences."""

import lazy_loader

from s2p.errors import pytorch_wanted

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = pytorch_wanted()(__getattr__)
