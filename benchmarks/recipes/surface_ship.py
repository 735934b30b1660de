"""The shipped surface network: trained members and the models of pockets in one file.

``python -m benchmarks.recipes.surface_ship MEMBER [MEMBER ...] --votes VOTES.json --data DATA -o OUT.safetensors`` takes the
members of ``benchmarks.recipes.surface_network``, and what ``benchmarks.recipes.surface_calibration`` fitted to their readings.
``--of SURFACE.safetensors`` in place of members and data: those of an earlier file, ranked anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from benchmarks.command import reported
from benchmarks.recipes.surface_examples import sources
from benchmarks.recipes.surface_network import read_member
from s2p.checkpoint import SURFACE_FORMAT, SurfaceModel, language_hash, load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.evaluation.guard import CARD_KEY, training_sketch
from s2p.io.weights import SHIPPED, read_arrays, write_weights
from s2p.pockets.ranking import PocketModel
from s2p.pockets.voting import CANDIDATE_FEATURES, POCKET_FEATURES, VoteModel
from s2p.structure.reading import read_structure
from s2p.surface.mpnn import Encoder
from s2p.surface.network import NetworkConfig, shapes
from s2p.surface.reading import SurfaceNetwork

__all__ = ["random_model", "ranked_anew", "save_surface", "trained_model"]


def save_surface(path: str | Path, model: SurfaceModel, language: str) -> None:
    """Write the file that :func:`s2p.checkpoint.load_surface` reads, and its card beside it.

    ``language`` is the :func:`~s2p.checkpoint.language_hash` of the language model whose embeddings the network reads.
    """
    arrays = model.network.arrays()
    header = {
        "format": SURFACE_FORMAT,
        "name": Path(path).stem,
        **model.network.header(),
        "votes": model.votes.to_dict(),
        "threshold": model.threshold,
        "language_hash": language,
    }
    half = {name: torch.from_numpy(np.ascontiguousarray(value, np.float16)) for name, value in arrays.items()}
    write_weights(Path(path), half, header, model.card)


def random_model(encoder: Encoder, examples: Path, members: int = 2, seed: int = 0) -> SurfaceModel:
    """A surface model with random weights and the atom types of the structures in a folder; for tests and development."""
    rng, kinds = np.random.default_rng(seed), set()
    for path in sorted(examples.glob("*.cif")):
        structure = read_structure(path)
        letters = structure.residues.one_letter[structure.atoms.residue_index]
        kinds |= set(np.char.add(np.char.add(letters, ":"), structure.atoms.name).tolist())
    types, config = ("*:C", "*:N", "*:O", "*:S", "*:X", *sorted(kinds)), NetworkConfig()

    def weights() -> dict[str, NDArray[np.float32]]:
        sizes = shapes(config, len(types))
        # Vectors hardly differ from point to point at first; larger ones make votes of some Å, as trained ones are.
        scale = {name: 0.05 if name.endswith(".b") else shape[0] ** -0.5 for name, shape in sizes.items()} | {"vote.b": 4.0}
        return {name: (rng.normal(size=shape) * scale[name]).astype(np.float32) for name, shape in sizes.items()}

    def plain(features: Sequence[str], used: str) -> PocketModel:
        n, own = len(features), np.array([name == used for name in features], float)
        return PocketModel((0.0,) * n, (1.0,) * n, tuple(own.tolist()), 0.0)

    votes = VoteModel(plain(CANDIDATE_FEATURES, "log_relative_height"), plain(POCKET_FEATURES, "middle"))
    network = SurfaceNetwork(encoder, types, tuple(weights() for _ in range(members)), config)
    return SurfaceModel(network, votes, 0.5, {"note": "random weights", CARD_KEY: training_sketch({})})


def trained_model(encoder: Encoder, members: Sequence[Path], fitted: Mapping[str, Any]) -> SurfaceModel:
    """The members in these files, with ``votes``, ``threshold`` and ``card`` from ``fitted``.

    :class:`S2PError` if they have other atom types or sizes.
    """
    found = [read_member(path) for path in members]
    if any((types, config) != found[0][1:] for _, types, config in found):
        raise S2PError(f"the members {', '.join(map(str, members))} read other types of atoms; train them from one (--start)")
    weights = tuple({name: value.float().numpy() for name, value in own.items()} for own, *_ in found)
    network = SurfaceNetwork(encoder, found[0][1], weights, found[0][2])
    return SurfaceModel(network, VoteModel.from_dict(fitted["votes"]), fitted["threshold"], dict(fitted["card"]))


def ranked_anew(path: Path, fitted: Mapping[str, Any], out: Path) -> None:
    """Write the surface network of ``path`` with ``votes``, ``threshold`` and the card's figures from ``fitted``.

    The ranking that the file holds is not read, so that it may be of another version. The other entries of the card are kept.
    """
    header, arrays = read_arrays(path, SURFACE_FORMAT, "not a surface network")
    card = {name: {**header["card"].get(name, {}), **values} for name, values in fitted["card"].items()}
    votes = VoteModel.from_dict(fitted["votes"]).to_dict()
    write_weights(out, arrays, header | {"votes": votes, "threshold": fitted["threshold"]}, header["card"] | card)


def learned_from(data: Path, table: Path) -> dict[str, Any]:
    """What the card says of the training structures: how many, and the sketch of their chains."""
    sequences, count = {}, Counter[str]()
    for source in sources(data, table, ("train", "ligysis_train")):
        count[source.split] += 1
        sequences |= {f"{source.key}|{chain}": source.structure.sequence(chain) for chain in source.structure.chains}
    return {"data": dict(count), CARD_KEY: training_sketch(sequences)}


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.surface_ship", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("members", type=Path, nargs="*", help="member.safetensors of runs; none: random ones, for development")
    parser.add_argument("--votes", type=Path, help="JSON with votes (VoteModel), threshold and card")
    parser.add_argument("--of", type=Path, metavar="SURFACE", help="the file whose members, data and description are taken")
    parser.add_argument("--data", type=Path, help="what was trained on, for the card")
    parser.add_argument("--table", type=Path, default=Path("data/splits/surface.csv"))
    parser.add_argument("--examples", type=Path, default=Path("data/examples"))
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(argv)
    if options.of is not None:
        if options.votes is None or options.members:
            raise S2PError("give --votes VOTES.json with --of, and no members: it has its own")
        ranked_anew(options.of, json.loads(options.votes.read_text(encoding="utf-8")), options.out)
        print(f"wrote {options.out}")
        return
    encoder = Encoder.from_arrays(load_file(SHIPPED / "proteinmpnn.safetensors"))
    language = language_hash(load_checkpoint(DEFAULT_MODEL).model)
    if options.members:
        if options.votes is None or options.data is None:
            raise S2PError("give --votes VOTES.json and --data DATA with trained members: file and card need both")
        model = trained_model(encoder, options.members, json.loads(options.votes.read_text(encoding="utf-8")))
        model = replace(model, card=model.card | learned_from(options.data, options.table))
    else:
        model = random_model(encoder, options.examples)
    save_surface(options.out, model, language)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    sys.exit(main())
