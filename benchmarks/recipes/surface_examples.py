"""Training examples of the surface network: arrays of assemblies with ligands or labelled residues, one file for each.

``python -m benchmarks.recipes.surface_examples DATA -o CACHE`` reads the structures of the table of splits, runs the language
model and the encoder of backbones once, and writes one ``.npz`` for every assembly that touches a ligand. It
resumes where it stopped. ``--copy K`` writes the K-th copy with moved atoms into ``CACHE/<split>_moved<K>``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.spatial import cKDTree

from benchmarks.command import reported
from benchmarks.moved import less_exact
from benchmarks.recipes.data import read_ligysis
from course.surface_training import UNKNOWN, Example, example_of
from s2p.config import LabelConfig
from s2p.datasets.labelled import LabelledChain, read_ligand
from s2p.datasets.splits import drawn
from s2p.errors import S2PError
from s2p.io.files import read_csv
from s2p.io.runtime import progress_bar
from s2p.pockets.ranking import SMALLEST, places
from s2p.predictor import Seq2Pocket, by_residue
from s2p.structure.reading import Structure, read_structure
from s2p.surface import mpnn
from s2p.surface.network import NetworkConfig
from s2p.surface.surroundings import assemblies

__all__ = ["Source", "prepare", "read_example", "sources"]

TOUCH = 6.0
"""Å: an assembly this close to a ligand is an example."""


@dataclass(frozen=True, eq=False)
class Source:
    """A structure of the table, with its ligands or its labelled residues."""

    key: str
    split: str
    cluster: str
    structure: Structure
    ligands: list[NDArray[np.float32]]
    """(L, 3) Å each; none for chains of LIGYSIS."""
    labels: NDArray[np.uint8] | None = None
    """(N,) where only residues are known."""


def read_example(path: Path) -> Example:
    """An example that :func:`prepare` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        fields = {name: stored[name] for name in stored.files}
    return Example(**{**fields, "key": str(fields["key"]), "cluster": str(fields["cluster"])})


def sources(folder: Path, table: Path, splits: Sequence[str], done: frozenset[str] = frozenset()) -> Iterator[Source]:
    """Structures of these splits of the table, but for those in ``done``, in an order that mixes them."""
    wanted = [row for row in read_csv(table, ("set", "id", "split", "clusters30")) if row["split"] in splits]
    by_key = {f"{row['set']}/{row['id']}": row for row in wanted}
    order = np.random.default_rng(0).permutation(len(wanted)).tolist()
    chains: dict[str, tuple[LabelledChain, Structure]] = {}
    if any(split.startswith("ligysis") for split in splits):
        for part in ("train", "validation"):
            chains |= {chain.id: (chain, structure) for chain, structure in read_ligysis(folder / "ligysis", part)}
    for k in order:
        row = wanted[k]
        key, cluster = f"{row['set']}/{row['id']}", row["clusters30"].split(" ")[0]
        if key in done or key not in by_key:
            continue
        if row["split"].startswith("ligysis"):
            chain, structure = chains[row["id"]]
            yield Source(key, row["split"], cluster, structure, [], chain.labels)
            continue
        places_ = [folder / name / row["set"] / row["id"] for name in ("complexes", "complexes2")]
        place = next((p for p in places_ if p.is_dir()), None)
        if place is None:
            raise S2PError(f"{key} of {table} is in none of {places_[0].parents[1]} and {places_[1].parents[1]}")
        found = [read_ligand(path)[0] for path in sorted(place.glob("ligand_*.pdb"))]
        yield Source(key, row["split"], cluster, read_structure(place / "protein.pdb"), found)


def _labels(source: Source) -> NDArray[np.uint8]:
    """(N,) of the whole structure."""
    if source.labels is not None:
        return source.labels
    atoms = source.structure.atoms
    distance, _ = cKDTree(np.concatenate(source.ligands)).query(atoms.coord, distance_upper_bound=LabelConfig.cutoff)
    label = np.zeros(len(source.structure.residues), np.uint8)
    label[atoms.residue_index[np.isfinite(distance)]] = 1
    place = places(source.structure)
    label[np.isin(place, place[label == 1]) & (label == 0)] = UNKNOWN
    return label


def prepare(
    source: Source, model: Seq2Pocket, encoder: mpnn.Encoder, config: NetworkConfig, copy: int | None = None
) -> list[Example]:
    """The assemblies of a structure, or of its ``copy`` with moved atoms, that hold something to learn."""
    structure, label = source.structure, _labels(source)
    if copy is not None:
        structure = less_exact(structure, np.random.default_rng(int(drawn(f"{copy}:{source.key}") * 2**32)))
    distinct = list(dict.fromkeys(structure.sequence(chain) for chain in structure.chains))
    outputs = dict(zip(distinct, model.read_sequences(distinct), strict=True))
    _, embeddings = by_residue(structure, outputs, config.language)
    found = []
    for number, part in enumerate(assemblies(structure)):
        own, coord = label[part.residues], part.structure.atoms.coord
        if len(part.residues) < SMALLEST or not (own == 1).any():
            continue
        near = [x for x in source.ligands if cKDTree(coord).query(x)[0].min() <= TOUCH]
        if source.ligands and not near:
            continue
        found.append(
            example_of(f"{source.key}/{number}", source.cluster, part, own, near, embeddings[part.residues], encoder, config)
        )
    return found


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.surface_examples", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--table", type=Path, default=Path("data/splits/surface.csv"))
    parser.add_argument("--splits", default="train,validation,validation2,ligysis_train,ligysis_far")
    parser.add_argument("--encoder", type=Path, default=Path("s2p/checkpoints/proteinmpnn.safetensors"))
    parser.add_argument("--share", default="0/1", help="k/n: every n-th structure from the k-th on")
    parser.add_argument(
        "--copy", type=int, metavar="K", help="the K-th copy with moved atoms in place of the structures themselves"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(argv)
    model, config = Seq2Pocket.load(device="cpu"), NetworkConfig()
    encoder = mpnn.Encoder.from_arrays(load_file(options.encoder))
    k, n = map(int, options.share.split("/"))
    suffix = "" if options.copy is None else f"_moved{options.copy}"
    splits = options.splits.split(",")
    files = [path for split in splits for path in (options.out / f"{split}{suffix}").glob("*.npz")]
    made = {path.stem.rsplit("~", 1)[0].replace("~", "/") for path in files}
    rows = read_csv(options.table, ("set", "id"))
    others = {f"{row['set']}/{row['id']}" for number, row in enumerate(rows) if number % n != k}
    for source in progress_bar(sources(options.data, options.table, splits, frozenset(made | others)), "examples"):
        folder = options.out / f"{source.split}{suffix}"
        folder.mkdir(parents=True, exist_ok=True)
        for example in prepare(source, model, encoder, config, options.copy):
            np.savez(folder / (example.key.replace("/", "~") + ".npz"), **vars(example))


if __name__ == "__main__":
    sys.exit(main())
