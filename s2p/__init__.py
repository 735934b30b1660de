"""s2p: from a protein structure to ranked, inspectable ligand-binding pockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2p.config import PredictConfig
    from s2p.errors import S2PError
    from s2p.prediction import Pocket, Prediction
    from s2p.predictor import Seq2Pocket, predict
    from s2p.structure.reading import Structure, read_structure

__version__ = "0.1.0"
__all__ = ["Pocket", "PredictConfig", "Prediction", "S2PError", "Seq2Pocket", "Structure", "predict", "read_structure"]

_HOME = {
    "PredictConfig": "config",
    "S2PError": "errors",
    "Seq2Pocket": "predictor",
    "predict": "predictor",
    "Pocket": "prediction",
    "Prediction": "prediction",
    "Structure": "structure.reading",
    "read_structure": "structure.reading",
}


def __getattr__(name: str) -> Any:
    # Names are imported when first used, so that `s2p --help` need not load torch.
    if name not in _HOME:
        raise AttributeError(f"module 's2p' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"s2p.{_HOME[name]}"), name)
