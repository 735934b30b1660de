"""Does the probability of a pocket mean what it says? ``python -m benchmarks.studies.calibration DATA -o calibration.json``.

Asked of the validation complexes, of complexes without a homologue among the proteins that are trained, tuned or tested on
(``DATA/complexes2``, in the layout of ``DATA/complexes`` but for its tables), and of unbound structures (``DATA/apo``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import log, reported
from benchmarks.recipes.data import read_chains, read_split
from s2p.datasets.labelled import Complex
from s2p.datasets.splits import homologous, read_splits
from s2p.errors import S2PError
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.intervals import summarise
from s2p.io.files import read_csv, write_text
from s2p.pockets.hits import HIT, dca
from s2p.prediction import Prediction
from s2p.predictor import Seq2Pocket

__all__ = ["expected_error", "reliability", "site_hits", "unseen_complexes"]

SETS = ("pdbbind_refined_monomers", "repo_pdbs")
MOST_RESIDUES = 6000
BINS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)


def site_hits(prediction: Prediction, ligands: Sequence[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """(K,) whether a ligand atom is within 4 Å of a pocket's centre, or of a copy's: files often give one subunit its ligand."""
    if not prediction.pockets:
        return np.zeros(0, bool)
    near = dca([p.center for p in prediction.pockets], np.concatenate(list(ligands))) < HIT
    site = np.array([p.copy_of or p.rank for p in prediction.pockets])
    return np.isin(site, site[near])


def expected_error(probability: NDArray[np.float64], hit: NDArray[np.bool_], bins: int = 10) -> float:
    """Mean over pockets of the difference between probability and share of hits in bins of equal width."""
    number = np.minimum((probability * bins).astype(int), bins - 1)
    total = [abs(float((probability[number == k] - hit[number == k]).sum())) for k in range(bins)]
    return sum(total) / max(1, len(hit))


def reliability(probability: NDArray[np.float64], hit: NDArray[np.bool_]) -> dict[str, Any]:
    """Expected calibration error, what it would be by chance if the probabilities were right, and a table of bins."""
    draw = np.random.default_rng(0)
    by_chance = [expected_error(probability, draw.random(len(hit)) < probability) for _ in range(300)]
    number = np.clip(np.digitize(probability, BINS) - 1, 0, len(BINS) - 2)
    rows = [
        [BINS[k], round(float(probability[own].mean()), 3), round(float(hit[own].mean()), 3), int(own.sum())]
        for k in range(len(BINS) - 1)
        for own in [number == k]
        if own.any()
    ]
    error = {"error": round(expected_error(probability, hit), 4), "error by chance": round(float(np.mean(by_chance)), 4)}
    return {"pockets": len(hit), "hits": int(hit.sum()), **error, "from, mean, share of hits, pockets": rows}


def unseen_complexes(data: Path, splits: Path) -> list[Complex]:
    """Complexes of ``complexes2`` in no cluster of the split, and without a homologue among the other training chains."""
    known = {key.replace("/", "|") for key, split in read_splits(splits).items() if split != "unused"}
    own: dict[str, set[str]] = {}
    for row in read_csv(data / "complexes2/chain_clusters_all.csv", ("chain", "cluster30")):
        dataset, name, rest = row["chain"].split("|", 2)
        learned = dataset == "LIGYSIS" and rest == "train"
        own.setdefault("known" if learned or f"{dataset}|{name}" in known else f"{dataset}|{name}", set()).add(row["cluster30"])
    taken = own.pop("known")
    found: dict[str, Complex] = {}
    for key in sorted(key for key, clusters in own.items() if key.startswith(SETS) and not clusters & taken):
        place = data / "complexes2" / key.replace("|", "/")
        ligands = tuple(sorted(place.glob("ligand_*.pdb")))
        if ligands:
            dataset, name = key.split("|")
            found[key] = Complex(dataset, name, place / "protein.pdb", ligands, tuple(sorted(own[key])))
    chains: dict[str, str] = {}
    for key, item in found.items():
        structure = item.read()
        chains |= {f"{key}|{c}": q for c in structure.chains if len(q := structure.sequence(c)) >= 20}
    training = {f"{k}": c.sequence for k, c in enumerate(read_chains(data / "sequences/small/scpdb.txt"))}
    rows = read_csv(data / "ligysis/chains.csv", ("split", "uniprot", "uniprot_sequence"))
    training |= {r["uniprot"]: r["uniprot_sequence"] for r in rows if r["split"] == "train"}
    seen = {name.rsplit("|", 1)[0] for name in homologous(training, chains)}
    return [item for key, item in found.items() if key not in seen]


def measure(model: Seq2Pocket, complexes: Sequence[Complex]) -> dict[str, Any]:
    """Reliability over all pockets, over those of single chains and of several, and how many ligands are found."""
    probability: dict[str, list[float]] = {"all": [], "single chains": [], "several chains": []}
    hits: dict[str, list[bool]] = {key: [] for key in probability}
    results = []
    for item in complexes:
        structure, ligands = item.read(), item.ligand_coords()
        if len(structure.residues) > MOST_RESIDUES:
            continue
        prediction = model.predict(structure)
        hit = site_hits(prediction, ligands).tolist()
        for key in ("all", "several chains" if len(structure.chains) > 1 else "single chains"):
            probability[key] += [p.probability for p in prediction.pockets]
            hits[key] += hit
        results.append(evaluate_complex(prediction, ligands, name=item.key, cluster=item.clusters[0]))
    table = summarise(results)
    found = {key: round(table[key].value, 4) for key in table if key.startswith(("dca < 4", "dcc < 4"))}
    parts = {key: reliability(np.array(p), np.array(hits[key], bool)) for key, p in probability.items() if p}
    return {"proteins": len(results), "clusters": len({c.clusters[0] for c in complexes}), **found, **parts}


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.calibration", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=Path, default=Path("data/splits/complexes.csv"))
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(argv)
    if not (options.data / "complexes2").is_dir():
        raise S2PError(f"{options.data}: holds no folder complexes2; give the folder of the data")
    model = Seq2Pocket.load(device="cpu")
    table: dict[str, Any] = {}
    apo = [Complex("apo", d.name, d / "protein.pdb", (d / "ligand_00.pdb",), (d.name,)) for d in (options.data / "apo").iterdir()]
    validation = read_split(options.data, options.splits, "validation", lambda item: item)
    sets = {"validation": validation, "unbound": apo, "unseen": unseen_complexes(options.data, options.splits)}
    for name, complexes in sets.items():
        table[name] = measure(model, complexes)
        log(f"{name}: {table[name]}")
    write_text(options.out, json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
