"""How far pockets move when the structure is turned: the published sphere of surface points and seeds are fixed in space.

``python benchmarks/frame.py`` turns and moves every bundled structure at random, makes pockets again with the residue
probabilities of the original, published ones and those of the surface network, and prints Markdown; ``studies/frame.json`` is
written beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from course.structures import moved
from s2p.config import DEFAULT_MODEL, ClusterConfig, PredictConfig
from s2p.pockets.published import find_clusters
from s2p.prediction import Pocket
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import random_rotation

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "data" / "examples"
TOP = 3
CONFIGS: dict[str, ClusterConfig | None] = {
    "surface": None,
    "raw": ClusterConfig(frame="raw"),
    "points": ClusterConfig(seeding="points", frame="raw"),
    "principal": ClusterConfig(),
    "points + principal": ClusterConfig(seeding="points"),
}


def pockets(
    predictor: Seq2Pocket,
    structure: Structure,
    scores: ResidueScores,
    positive: np.ndarray,
    config: ClusterConfig | None,
) -> Sequence[Pocket]:
    """Those of the surface network, or the published clusters with the settings of ``config``."""
    if config is None:
        return predictor.pockets(structure, scores, PredictConfig(ranking="surface")).pockets
    return find_clusters(structure, positive, scores.sequence, cluster=config)


def drift(
    before: Sequence[Pocket],
    after: Sequence[Pocket],
    rotation: np.ndarray,
    shift: np.ndarray,
) -> list[float]:
    """Å from each of the first pockets to the closest of those found after the motion."""
    if not before or not after:
        return []
    centers = (np.array([c.center for c in after]) - shift) @ rotation
    return [float(np.linalg.norm(centers - c.center, axis=1).min()) for c in before[:TOP]]


def residue_labels(clusters: Sequence[Pocket], n: int) -> np.ndarray:
    """(n,) cluster of each residue, -1 for none."""
    labels = np.full(n, -1)
    for k, cluster in enumerate(clusters):
        labels[cluster.residues] = k
    return labels


def measure(n_motions: int, seed: int = 0, model: str | Path = DEFAULT_MODEL) -> dict[str, Any]:
    """Drift and agreement over all bundled structures with pockets."""
    from sklearn.metrics import adjusted_rand_score

    predictor = Seq2Pocket.load(model, device="cpu")
    results: dict[str, Any] = {
        name: {"drift": [], "drift_rank": [], "ari": [], "same_top": [], "ms": [], "by_structure": {}} for name in CONFIGS
    }
    for path in sorted(EXAMPLES.glob("*.cif*")) + sorted(EXAMPLES.glob("*.pdb*")):
        structure = read_structure(path)
        scores = predictor.score(structure)
        positive = predictor.pockets(structure, scores, PredictConfig(ranking="published")).positive
        if not positive.any():
            continue
        draw = np.random.default_rng(seed)
        motions = [(random_rotation(draw), draw.uniform(-50, 50, 3)) for _ in range(n_motions)]
        for name, config in CONFIGS.items():
            result = results[name]
            before = pockets(predictor, structure, scores, positive, config)
            own = []
            for rotation, shift in motions:
                other = moved(structure, rotation, shift)
                start = time.perf_counter()
                after = pockets(predictor, other, scores, positive, config)
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
    parser.add_argument("--model", default=DEFAULT_MODEL, help="checkpoint (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "studies", metavar="DIR", help="folder of frame.json")
    arguments = parser.parse_args(argv)
    results = measure(arguments.motions, model=arguments.model)
    lines = [
        f"| pockets | mean drift of the top {TOP} (Å) | 95th percentile (Å) | largest (Å) | same rank: mean (Å) | mean ARI | "
        f"top {TOP} unchanged | ms |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    summary = {}
    for name, result in results.items():
        values = {
            "mean_drift": np.mean(result["drift"]),
            "p95_drift": np.percentile(result["drift"], 95),
            "max_drift": np.max(result["drift"]),
            "mean_drift_same_rank": np.mean(result["drift_rank"]),
            "mean_ari": np.mean(result["ari"]),
            "same_top": np.mean(result["same_top"]),
            "ms": np.mean(result["ms"]),
        }
        summary[name] = {key: round(float(value), 4) for key, value in values.items()} | {"by_structure": result["by_structure"]}
        a, b, c, d, e, f, g = values.values()
        lines.append(f"| {name} | {a:.3f} | {b:.2f} | {c:.2f} | {d:.2f} | {e:.3f} | {f:.0%} | {g:.1f} |")
    arguments.output.mkdir(parents=True, exist_ok=True)
    report = {"structures": len(next(iter(results.values()))["by_structure"]), "motions": arguments.motions, "clusters": summary}
    (arguments.output / "frame.json").write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
