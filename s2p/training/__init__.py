"""Training of every model: one loop, and fine-tuning of the language model."""

import lazy_loader

from s2p.errors import pytorch_wanted

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = pytorch_wanted()(__getattr__)
