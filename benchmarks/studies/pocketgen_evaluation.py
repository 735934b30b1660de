"""PocketGen on held-out pockets, beside baselines that know less, with intervals over clusters of homologous proteins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from s2p.evaluation.intervals import Summary, bootstrap_mean, bootstrap_ratio
from s2p.io.runtime import progress_bar
from s2p.models.pocketgen.checkpoint import PocketGenCheckpoint
from s2p.models.pocketgen.config import DesignConfig
from s2p.models.pocketgen.data import Pocket
from s2p.models.pocketgen.design import backbone_rmsd, cleaned, design_pocket, diversity, draw_starts, measure

__all__ = ["PocketRow", "evaluate_pockets", "summarise_pockets"]


@dataclass(frozen=True)
class PocketRow:
    """Figures of one pocket."""

    name: str
    cluster: str
    residues: int
    recovery: float
    """Of the likeliest types."""
    drawn_recovery: float
    """Mean over designs drawn at temperature 1."""
    language: float
    """Recovery of the language model without structure."""
    frequent: float
    """Recovery of the most frequent residue of training pockets."""
    rmsd: float
    """Å, N, CA, C, O, of the likeliest types after the clean-up."""
    start_rmsd: float
    """Å, of the interpolation it starts from."""
    clean_start_rmsd: float
    """Å, of that start after the same clean-up: what the network adds is the difference to this."""
    clashes: int
    bonds: int
    bond_outliers: int
    diversity: float
    seconds: float
    """Of the design with the likeliest types."""


def evaluate_pockets(
    checkpoint: PocketGenCheckpoint, pockets: Sequence[Pocket], *, drawn: int = 2, seed: int = 0
) -> list[PocketRow]:
    """Design each pocket once with the likeliest types and ``drawn`` times at temperature 1."""
    frequent = int(np.argmax(checkpoint.card["type_counts"])) + 1
    head = checkpoint.model.language
    rows = []
    for p in progress_bar(pockets, "designing"):
        native = p.types[p.pocket]
        begun = time.perf_counter()
        (best,) = design_pocket(checkpoint, p, DesignConfig(1, 0.0, seed))
        seconds = time.perf_counter() - begun
        m = measure(checkpoint, p, best)
        start = draw_starts(p, 1, seed).coord[0]
        others = design_pocket(checkpoint, p, DesignConfig(drawn, 1.0, seed, idealise=False))
        language = float("nan")
        if head is not None:
            with torch.no_grad():
                told = head(torch.from_numpy(p.language).double()).argmax(dim=1).numpy() + 1
            language = float((told == native).mean())
        rows.append(
            PocketRow(
                p.name,
                p.cluster,
                len(native),
                m.recovery,
                float(np.mean([(d.types == native).mean() for d in others])),
                language,
                float((native == frequent).mean()),
                m.rmsd,
                backbone_rmsd(p, start),
                backbone_rmsd(p, cleaned(checkpoint, p, replace(best, coord=start))),
                m.clashes,
                m.bonds,
                m.bond_outliers,
                diversity(others),
                seconds,
            )
        )
    return rows


def summarise_pockets(rows: Sequence[PocketRow]) -> dict[str, Summary]:
    """Means over pockets with intervals over clusters; shares of bonds are of all bonds.

    The gain over the language model is of the same pockets: its interval tells more than those of the two.
    """
    groups = [row.cluster for row in rows]

    def mean(name: str) -> Summary:
        return bootstrap_mean([float(getattr(row, name)) for row in rows], groups)

    gain = bootstrap_mean([row.recovery - row.language for row in rows], groups)
    good = bootstrap_ratio([row.bonds - row.bond_outliers for row in rows], [row.bonds for row in rows], groups)
    return {
        "recovery, likeliest types": mean("recovery"),
        "recovery, drawn at temperature 1": mean("drawn_recovery"),
        "recovery, language model alone": mean("language"),
        "recovery, most frequent residue": mean("frequent"),
        "recovery, likeliest types less language model alone": gain,
        "backbone RMSD (Å)": mean("rmsd"),
        "backbone RMSD of the start (Å)": mean("start_rmsd"),
        "backbone RMSD of the start after the clean-up (Å)": mean("clean_start_rmsd"),
        "bonds within 0.1 Å of ideal": good,
        "clashes a pocket": mean("clashes"),
        "diversity": mean("diversity"),
        "seconds a design": mean("seconds"),
    }
