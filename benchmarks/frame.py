"""How far pockets move when the structure is turned: the sphere of surface points and the seeds are fixed in space.

``python benchmarks/frame.py`` turns and moves every bundled structure at random, predicts again with the residue
probabilities of the original, and prints Markdown; ``frame.json`` is written beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from s2p.clustering import Cluster
from s2p.config import ClusterConfig
from s2p.pipeline import Seq2Pocket
from s2p.pockets import find_clusters
from s2p.structure import Structure, read_structure

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "data" / "examples"
TOP = 3
CONFIGS = {
    "raw": ClusterConfig(),
    "points": ClusterConfig(seeding="points"),
    "principal": ClusterConfig(frame="principal"),
    "points + principal": ClusterConfig(seeding="points", frame="principal"),
}


def random_motion(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3), uniform, and translation (3,) of some tens of Å."""
    q, r = np.linalg.qr(draw.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.sign(np.linalg.det(q))
    return q, draw.uniform(-50, 50, 3)


def move(structure: Structure, rotation: np.ndarray, shift: np.ndarray) -> Structure:
    """The structure elsewhere, rounded to the 0.001 Å of a file."""
    atoms, residues = structure.atoms, structure.residues

    def there(x: np.ndarray) -> np.ndarray:
        return np.round(x @ rotation.T + shift, 3).astype(np.float32)

    return replace(
        structure,
        atoms=replace(atoms, coord=there(atoms.coord)),
        residues=replace(residues, ca_coord=there(residues.ca_coord)),
    )


def drift(before: Sequence[Cluster], after: Sequence[Cluster], rotation: np.ndarray, shift: np.ndarray) -> list[float]:
    """Å from each of the first pockets to the closest of those found after the motion."""
    if not before or not after:
        return []
    centers = (np.array([c.center for c in after]) - shift) @ rotation
    return [float(np.linalg.norm(centers - c.center, axis=1).min()) for c in before[:TOP]]


def residue_labels(clusters: Sequence[Cluster], n: int) -> np.ndarray:
    """(n,) cluster of each residue, -1 for none."""
    labels = np.full(n, -1)
    for k, cluster in enumerate(clusters):
        labels[cluster.residues] = k
    return labels


def measure(n_motions: int, seed: int = 0) -> dict[str, Any]:
    """Drift and agreement over all bundled structures with pockets."""
    from sklearn.metrics import adjusted_rand_score

    predictor = Seq2Pocket.load(device="cpu")
    results: dict[str, Any] = {
        name: {"drift": [], "drift_rank": [], "ari": [], "same_top": [], "ms": [], "by_structure": {}} for name in CONFIGS
    }
    for path in sorted(EXAMPLES.glob("*.cif*")) + sorted(EXAMPLES.glob("*.pdb*")):
        structure = read_structure(path)
        prediction = predictor.predict(structure)
        positive, probabilities = prediction.positive, prediction.probabilities
        if not positive.any():
            continue
        draw = np.random.default_rng(seed)
        motions = [random_motion(draw) for _ in range(n_motions)]
        for name, config in CONFIGS.items():
            result = results[name]
            before = find_clusters(structure, positive, probabilities, cluster=config)
            own = []
            for rotation, shift in motions:
                other = move(structure, rotation, shift)
                start = time.perf_counter()
                after = find_clusters(other, positive, probabilities, cluster=config)
                result["ms"].append(1000 * (time.perf_counter() - start))
                own += drift(before, after, rotation, shift)
                for a, b in zip(before[:TOP], after, strict=False):
                    result["drift_rank"].append(float(np.linalg.norm((b.center - shift) @ rotation - a.center)))
                labels = [residue_labels(x, len(positive))[positive] for x in (before, after)]
                result["ari"].append(float(adjusted_rand_score(*labels)))
                sets = [[c.residues.tolist() for c in x[:TOP]] for x in (before, after)]
                result["same_top"].append(sets[0] == sets[1])
            result["drift"] += own
            result["by_structure"][structure.name] = round(float(np.mean(own)), 3)
    return results


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motions", type=int, default=20, help="random rigid motions of every structure")
    parser.add_argument("-o", "--output", type=Path, default=HERE, metavar="DIR", help="folder of frame.json")
    arguments = parser.parse_args(argv)
    results = measure(arguments.motions)
    lines = [
        f"| clusters | mean drift of the top {TOP} (Å) | 95th percentile (Å) | same rank: mean (Å) | mean ARI | "
        f"top {TOP} unchanged | ms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    summary = {}
    for name, result in results.items():
        values = {
            "mean_drift": np.mean(result["drift"]),
            "p95_drift": np.percentile(result["drift"], 95),
            "mean_drift_same_rank": np.mean(result["drift_rank"]),
            "mean_ari": np.mean(result["ari"]),
            "same_top": np.mean(result["same_top"]),
            "ms": np.mean(result["ms"]),
        }
        summary[name] = {key: round(float(value), 4) for key, value in values.items()} | {"by_structure": result["by_structure"]}
        a, b, c, d, e, f = values.values()
        lines.append(f"| {name} | {a:.2f} | {b:.2f} | {c:.2f} | {d:.3f} | {e:.0%} | {f:.1f} |")
    arguments.output.mkdir(parents=True, exist_ok=True)
    report = {"structures": len(next(iter(results.values()))["by_structure"]), "motions": arguments.motions, "clusters": summary}
    (arguments.output / "frame.json").write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
