"""Does joining structure and sequence help? The whole CrossBind network on ligand complexes, against each modality alone.

``python -m benchmarks.studies.crossbind DATA SPLIT.csv BACKBONE.safetensors --work DIR -o OUT.json``

There are no structures of nucleic-acid complexes in DATA, so the network is tried on the ligand complexes that are there. Every
variant is trained with the same steps; its epoch is chosen on validation clusters, the test clusters come last.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from benchmarks.command import reported
from course.contrast import ContrastConfig, ProjectionHead, contrast_views, pretrain_crossbind, top1_retrieval
from course.crossbind_training import CrossBindExample, CrossBindTrainConfig, train_crossbind
from course.residue_figures import residue_figures
from s2p.datasets.labelled import Complex, read_complexes
from s2p.datasets.splits import read_splits
from s2p.errors import S2PError
from s2p.evaluation.intervals import bootstrap, paired_difference
from s2p.evaluation.residues import auprc_trapezoid, best_threshold, f1, roc_auc
from s2p.io.files import make_folder, write_text
from s2p.io.runtime import progress_bar
from s2p.language.esm import ResidueModel, load_backbone
from s2p.language.sequences import predict_residues
from s2p.models.crossbind.cloud import cloud_of
from s2p.models.crossbind.config import CrossBindConfig
from s2p.models.crossbind.network import CrossBind, residue_logits
from s2p.models.encoder import BACKBONE
from s2p.prediction import sigmoid
from s2p.structure.arrays import binding_residues
from s2p.structure.reading import Structure

__all__ = ["VARIANTS", "Held", "compare", "main", "read_examples"]

SPLITS = ("train", "validation", "test")
UNTRAINED = "both, without pre-training"
VARIANTS: dict[str, dict[str, Any]] = {
    "structure and sequence": {},
    "structure alone": {"language_width": 0},
    "sequence alone": {"structure": False},
    "both, without attention on atoms": {"atom_attention": False},
    UNTRAINED: {},
}
"""Variant -> changes of settings; the whole network is first. Variants that read structures share one pre-training."""


@dataclass(frozen=True, eq=False)
class Held:
    """An example and the cluster of homologues that it stands for."""

    example: CrossBindExample
    cluster: str


def _binding_part(source: Complex) -> tuple[Structure, NDArray[np.uint8]] | None:
    """The chains that touch a ligand and their labels: of copies without a ligand it is not known that they do not bind."""
    structure = source.read()
    labels = np.zeros(len(structure.residues), np.uint8)
    for ligand in source.ligand_coords():
        labels[binding_residues(structure, ligand)] = 1
    touched = [c for c in structure.chains if labels[structure.residues.chain == c].any()]
    if not touched:
        return None
    return structure.select_chains(touched), labels[np.isin(structure.residues.chain, touched)]


def read_examples(folder: Path, split: Path, backbone: Path, work: Path) -> dict[str, list[Held]]:
    """Examples of each split, with embeddings of the untuned language model, which are kept in ``work``.

    Parameters
    ----------
    split
        Table with the columns ``dataset``, ``id`` and ``split``.
    backbone
        Weights of an ESM-2 8M that has seen no binding sites: one fine-tuned on the training complexes would be more confident
        on them than on others, and the network would learn to trust it too much.
    """
    place = read_splits(split)
    wanted = [source for source in read_complexes(folder / "complexes") if place.get(source.key) in SPLITS]
    if not wanted:
        raise S2PError(f"{split} names no complex of {folder / 'complexes'}")
    parts = []
    for source in progress_bar(wanted, "complexes"):
        part = _binding_part(source)
        if part is not None:
            parts.append((source, *part))
    make_folder(work)
    kept = work / "embeddings.safetensors"
    embeddings = load_file(kept) if kept.is_file() else {}
    missing = sorted({s.sequence(c) for _, s, _ in parts for c in s.chains} - set(embeddings))
    if missing:
        model = ResidueModel(BACKBONE)
        model.backbone = load_backbone(BACKBONE, backbone)
        found = [predict_residues(model, [sequence])[0] for sequence in progress_bar(missing, "language model")]
        embeddings |= {sequence: hidden.astype(np.float16) for sequence, (_, hidden) in zip(missing, found, strict=True)}
        partial = kept.with_name(kept.name + ".part")
        save_file(embeddings, partial)
        partial.replace(kept)
    examples: dict[str, list[Held]] = {name: [] for name in SPLITS}
    for source, structure, labels in parts:
        language = np.zeros((len(labels), 320), np.float32)
        for chain in structure.chains:
            language[structure.residues.chain == chain] = embeddings[structure.sequence(chain)]
        none = np.zeros((len(labels), 0), np.float32)
        example = CrossBindExample(source.key, cloud_of(structure), language, none, labels)
        examples[place[source.key]].append(Held(example, source.clusters[0]))
    return examples


def _retrieval(model: CrossBind, head: ProjectionHead, held: Sequence[Held], config: ContrastConfig) -> list[float]:
    """Mean top-1 retrieval of residues within one protein, and the share expected by chance; the network of the last stage."""
    rng = np.random.default_rng(0)
    hits, chance = [], []
    with torch.no_grad():
        for one in held[:20]:
            first, second = contrast_views(model, head, [one.example.cloud], config, rng)
            hits.append(top1_retrieval(first, second))
            chance.append(1 / len(first))
    return [round(float(np.mean(hits)), 4), round(float(np.mean(chance)), 4)]


def compare(
    examples: dict[str, list[Held]],
    config: CrossBindTrainConfig,
    contrast: ContrastConfig,
    work: Path,
    out: Path,
    *,
    quiet: bool = False,
) -> None:
    """Train every variant and measure it; differences are paired over proteins, with intervals over clusters.

    The table in ``out`` is written anew after each variant. Trainings found in ``work`` are resumed.
    """
    sides = {name: [one.example for one in held] for name, held in examples.items()}
    clusters = [one.cluster for one in examples["test"]]
    labels = {name: np.concatenate([e.labels for e in side]) for name, side in sides.items()}
    table: dict[str, Any] = {}
    differences: dict[str, list[float]] = {}
    whole: list[float] = []
    found_so_far = {
        "data": {
            name: [len(side), sum(len(e.labels) for e in side), round(float(labels[name].mean()), 4)]
            for name, side in sides.items()
        },
        "model": asdict(CrossBindConfig()),
        "training": asdict(config),
        "pre-training": asdict(contrast),
        "variants": table,
        "both_less_variant_auprc_per_protein": differences,
    }
    for name, changes in VARIANTS.items():
        model_config = replace(CrossBindConfig(), **changes)
        used = [replace(e, language=e.language[:, : model_config.language_width]) for side in SPLITS for e in sides[side]]
        n_train, n_validation = len(sides["train"]), len(sides["validation"])
        train, validation, test = used[:n_train], used[n_train : n_train + n_validation], used[n_train + n_validation :]
        folder = work / name.replace(" ", "-")
        torch.manual_seed(config.seed)
        model, head = CrossBind(model_config), ProjectionHead(model_config.width)
        pretrained = model_config.structure and name != UNTRAINED
        if pretrained:
            pretrain_crossbind(model, head, train, contrast, folder=folder / "contrast", quiet=quiet)
        train_crossbind(model, train, validation, config, folder=folder, quiet=quiet)
        on_validation = np.concatenate([residue_logits(model, e.cloud, e.language, e.features) for e in validation])
        threshold, _ = best_threshold(labels["validation"], sigmoid(on_validation), f1)
        logits = [residue_logits(model, e.cloud, e.language, e.features) for e in test]
        by_protein = [auprc_trapezoid(e.labels, s) for e, s in zip(test, logits, strict=True)]

        def pooled(rows: NDArray[np.int64], logits: list[NDArray[np.float32]] = logits) -> float:
            return auprc_trapezoid(
                np.concatenate([sides["test"][k].labels for k in rows]), np.concatenate([logits[k] for k in rows])
            )

        auprc = bootstrap(pooled, clusters, n=300)
        probability = sigmoid(np.concatenate(logits))
        figures = residue_figures(labels["test"], probability, probability > threshold)
        row: dict[str, Any] = {
            "validation_auprc": round(auprc_trapezoid(labels["validation"], on_validation), 4),
            "threshold": threshold,
            "test_auprc": [round(x, 4) for x in (auprc.value, auprc.low, auprc.high)],
            "test_auprc_per_protein": round(float(np.mean(by_protein)), 4),
            "test_auc": round(roc_auc(labels["test"], probability), 4),
            "test_f1": round(figures.f1, 4),
            "test_mcc": round(figures.mcc, 4),
        }
        if model.balance is not None:
            row["share_of_structure"] = round(model.share.item(), 4)
        if pretrained:
            row["retrieval_and_chance"] = _retrieval(model, head, examples["validation"], contrast)
        table[name] = row
        print(f"{name}: {row}", flush=True)
        if not whole:
            whole = by_protein
        else:
            d = paired_difference(whole, by_protein, clusters, n=1000)
            differences[name] = [round(x, 4) for x in (d.value, d.low, d.high, d.p)]
        write_text(out, json.dumps(found_so_far, indent=1, ensure_ascii=False) + "\n")


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.crossbind", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("backbone", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/crossbind_ligands"))
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    examples = read_examples(options.data, options.split, options.backbone, options.work)
    compare(examples, CrossBindTrainConfig(), ContrastConfig(), options.work, options.out)


if __name__ == "__main__":
    sys.exit(main())
