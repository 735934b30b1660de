"""Fine-tuning in notebook 03 and on a GPU: where it starts, what is stored, and pictures of batches, trainings and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from course.charts import Chart, Picture
from course.plots import curves
from course.residue_figures import residue_figures
from s2p.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.datasets.labelled import LabelledChain
from s2p.language.esm import ResidueModel, load_backbone
from s2p.language.sequences import predict_residues
from s2p.models.encoder import BACKBONE, ENCODER, start_encoder
from s2p.output.palette import OUTSIDE, POCKETS

__all__ = ["batch_picture", "gap_picture", "logits_of", "low_rank_picture", "save_adapter", "starting_model", "threshold_chart"]


def starting_model(name: str, seed: int) -> ResidueModel:
    """A residue model with a random head, by the name of its backbone; without dropout, as published.

    ``s2p-esm2-8m`` is the shipped one, which has learned binding sites, ``esm2-8m`` what that started from; the published
    ESM-2 (``esm2_t6_8M_UR50D`` and larger) are downloaded where they are not there yet.
    """
    shipped = name in (DEFAULT_MODEL, ENCODER)
    torch.manual_seed(seed)
    model = ResidueModel(BACKBONE if shipped else name)
    if name == DEFAULT_MODEL:
        model.backbone.load_state_dict(load_checkpoint(name).model.backbone.state_dict())
    else:
        model.backbone = start_encoder() if shipped else load_backbone(name)
    model.base = name
    return model.eval()


def logits_of(model: Any, chains: Sequence[LabelledChain]) -> list[NDArray[np.float32]]:
    """(n,) logits of each chain, by a residue model in PyTorch or NumPy."""
    return [logits for logits, _ in predict_residues(model, [c.sequence for c in chains])]


def save_adapter(model: ResidueModel, threshold: float, card: dict[str, Any], path: Path) -> None:
    """Low-rank updates, head and threshold as a checkpoint that makes and ranks pockets as published, without smoothing."""
    save_checkpoint(Checkpoint(path.stem, model, None, None, threshold, 0.4, "published", card), path)


def batch_picture(labels: Tensor) -> Picture:
    """(B, T) labels of a batch as coloured squares; -1 is no residue."""
    figure = Figure(figsize=(8.4, 0.5 + 0.42 * len(labels)), dpi=120, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    colors = {"no label": "#F2F2F2", "does not bind": OUTSIDE, "binds": POCKETS[1]}
    scale = ListedColormap(list(colors.values()))
    axes.imshow(labels.numpy() + 1, aspect="auto", interpolation="nearest", cmap=scale, vmin=0, vmax=2)
    axes.set(xlabel="place in the batch", ylabel="chain")
    axes.set_yticks(range(len(labels)), [str(k + 1) for k in range(len(labels))])
    for name, color in colors.items():
        axes.scatter([], [], marker="s", s=50, color=color, edgecolor="#888888", linewidth=0.4, label=name)
    axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    known = int((labels >= 0).sum())
    return Picture(figure, f"{len(labels)} chains in {labels.numel()} places, of which {known} are residues with a label.")


def gap_picture(rows: Sequence[Mapping[str, float]], guess: float, title: str) -> Picture:
    """Loss and AUPRC of the training and the validation chains by epoch, side by side; what lies between is shaded."""
    figure = Figure(figsize=(8.4, 3.4), dpi=120, facecolor="white", layout="constrained")
    epochs = np.arange(len(rows))
    for axes, kind in zip(figure.subplots(1, 2), ("loss", "AUPRC"), strict=True):
        for name, color, symbol in (("training", POCKETS[0], "o"), ("validation", POCKETS[1], "s")):
            axes.plot(epochs, [row[f"{name} {kind}"] for row in rows], marker=symbol, markersize=4, color=color, label=name)
        ends = ([row[f"{name} {kind}"] for row in rows] for name in ("training", "validation"))
        axes.fill_between(epochs, *ends, color="#DDDDDD", linewidth=0, zorder=0, label="generalisation gap")
        axes.set(xlabel="epochs of unfrozen training", ylabel=kind)
        axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(guess, color="black", linestyle="--", linewidth=1, label="guessing")
    axes.set_ylim(0, 1)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    first, last = rows[0], rows[-1]
    words = (f"{key} from {first[key]:.3f} to {last[key]:.3f}" for key in first if key.endswith(("loss", "AUPRC")))
    return Picture(figure, f"{title}: {'; '.join(words)}.")


def low_rank_picture(width: int, rank: int) -> Picture:
    """A (width, width) matrix and its update of a rank, all drawn to one scale: the numbers are the areas."""
    figure = Figure(figsize=(8.4, 3.0), dpi=120, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    thin, middle, unit = max(rank, width / 160), width / 2, width / 320
    parts = (("W", "fixed", 0.0, (width, width), OUTSIDE), ("B", "trained", 500 * unit, (thin, width), POCKETS[1]))
    for name, word, x, (wide, high), color in (*parts, ("A", "trained", 600 * unit, (width, thin), POCKETS[1])):
        axes.add_patch(Rectangle((x, middle - high / 2), wide, high, facecolor=color))
        size = f"{width} × {width}" if name == "W" else f"{width} × {rank}" if name == "B" else f"{rank} × {width}"
        axes.text(x + wide / 2, -22 * unit, f"{name}, {word}\n{size}", ha="center", va="top", fontsize=9)
    axes.text(410 * unit, middle, r"$+\ \frac{\alpha}{r}\ \times$", ha="center", va="center", fontsize=18)
    axes.text(555 * unit, middle, r"$\times$", ha="center", va="center", fontsize=14)
    axes.set(xlim=(-20 * unit, 980 * unit), ylim=(-100 * unit, width + 10 * unit), aspect="equal")
    axes.axis("off")
    share = 2 * rank / width
    return Picture(
        figure, f"W has {width**2:,} numbers, B and A together {2 * rank * width:,}, {share:.0%} of them; drawn to scale."
    )


def threshold_chart(binding: ArrayLike, probabilities: ArrayLike, threshold: float) -> Chart:
    """Precision, recall and Matthews' correlation by threshold; the title counts the decisions at the one that is marked."""
    y, p = np.asarray(binding, bool), np.asarray(probabilities, float)
    grid = np.round(np.arange(0.02, 1.0, 0.02), 2)
    sweep = [residue_figures(y, p, p > t) for t in grid]
    here = p > threshold
    right, wrong, missed = (int(x.sum()) for x in (here & y, here & ~y, ~here & y))
    return curves(
        grid,
        {name: [getattr(figures, name.lower()) for figures in sweep] for name in ("precision", "recall", "MCC")},
        title=f"Above {threshold:.2f}: {right} right, {wrong} wrong, {missed} missed",
        x_label="threshold",
        y_label="value",
        mark=("threshold", threshold),
        points=False,
        y_range=(-0.05, 1),
    )
