"""Charts of the layers of a language model: residue types, binding, and attention compared with contacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from course.attention import AttentionConfig, contact_precision
from course.charts import Chart, Layer, Picture
from s2p.errors import S2PError
from s2p.output.palette import OUTSIDE, POCKETS

__all__ = [
    "CLASSES",
    "attention_chart",
    "attention_picture",
    "heads_picture",
    "logit_chart",
    "share_by_layer",
    "share_explained",
    "type_map",
]

CLASSES: Mapping[str, str] = {
    "aliphatic": "AVILM",
    "aromatic": "FWY",
    "polar": "STNQ",
    "positive": "KRH",
    "negative": "DE",
    "Gly, Pro, Cys": "GPC",
}
"""Chemical class -> letters of its amino acids."""


def share_explained(embeddings: ArrayLike, labels: Sequence[str]) -> float:
    """Share of the variance of (N, d) embeddings between groups of N ``labels`` (eta squared), 0 to 1.

    With the sequence as labels, this is the share that the amino acid type explains.

    Raises
    ------
    S2PError
        If all embeddings are equal.
    """
    e, group = np.asarray(embeddings, float), np.array(list(labels))
    total = float(((e - e.mean(axis=0)) ** 2).sum())
    if total == 0:
        raise S2PError("all embeddings are equal: there is no variance to explain")
    within = sum(float(((e[group == g] - e[group == g].mean(axis=0)) ** 2).sum()) for g in np.unique(group))
    return 1 - within / total


def share_by_layer(shares: Sequence[float]) -> Chart:
    """Share of the variance that the amino acid type explains, by layer."""
    x, y = np.arange(len(shares), dtype=float), np.asarray(shares, float)
    return Chart(
        "From amino acid type to context",
        "layer (0: input of the first)",
        "variance explained by residue type",
        (Layer("line", x, y, "", POCKETS[0], size=7), Layer("points", x, y, "", POCKETS[0], size=6)),
        "1: the embedding depends on the amino acid type only. The rest of the variance comes from the context.",
        f"Residue type explains {y[0]:.0%} of the variance before the first layer and {y[-1]:.0%} after the last.",
        y_range=(0.0, 1.05),
        x_ticks=(x.tolist(), [str(k) for k in range(len(shares))]),
        size=(5.6, 3.4),
    )


def type_map(embeddings: ArrayLike, sequence: str, names: Sequence[str] = (), title: str = "Residues by type") -> Chart:
    """(N, d) embeddings on their first two principal components, coloured by the chemical class of the residue.

    Where all residues of a type have one vector, the letter stands beside it.

    Raises
    ------
    S2PError
        With fewer than three residues.
    """
    from sklearn.decomposition import PCA

    e, letters = np.asarray(embeddings, float), np.array(list(sequence))
    if len(e) < 3:
        raise S2PError(f"a map of embeddings needs at least three residues, not {len(e)}")
    pca = PCA(2, svd_solver="full").fit(e)
    plane, share = pca.transform(e), pca.explained_variance_ratio_
    symbols = ("circle", "triangle", "square", "diamond", "circle", "triangle")
    layers = []
    for k, (label, members) in enumerate(CLASSES.items()):
        m = np.isin(letters, list(members))
        hover = [names[i] for i in np.flatnonzero(m).tolist()] if len(names) else ()
        layers.append(Layer("points", plane[m, 0], plane[m, 1], label, POCKETS[k], hover, symbol=symbols[k], size=3.5))
    types, one = np.unique(letters, return_index=True)
    if all(np.allclose(e[letters == a], e[i]) for a, i in zip(types, one, strict=True)):  # before any context: a point a type
        layers.append(Layer("points", plane[one, 0], plane[one, 1], text=types.tolist(), color="#333333", size=0.5))
    return Chart(
        title,
        f"first principal component ({share[0]:.0%} of the variance)",
        f"second principal component ({share[1]:.0%})",
        tuple(layers),
        "Each point is a residue, coloured by the chemical class of its amino acid.",
        f"{len(e)} residues; two components contain {share.sum():.0%} of the variance, of which residue type explains "
        f"{share_explained(plane, sequence):.0%}.",
        size=(6.8, 4.4),
    )


def logit_chart(logits: ArrayLike, binding: ArrayLike, bins: int = 40) -> Chart:
    """Distribution of the (N,) logits of binding and other residues, each summing to 1.

    As many residues are above the dashed line as truly bind, so precision and recall are equal there.
    """
    z, y = np.asarray(logits, float), np.asarray(binding, bool)
    if not y.any():
        raise S2PError("none of these residues binds: there is nothing to compare")
    edges = np.linspace(z.min(), z.max(), bins + 1)
    layers = []
    for mask, label, color in ((~y, "not binding", "#555555"), (y, "binding", POCKETS[1])):
        share = np.histogram(z[mask], edges)[0] / max(int(mask.sum()), 1)
        layers.append(Layer("steps", edges, np.append(share, share[-1]), f"{label} ({int(mask.sum())})", color, size=7))
    level = float(np.sort(z)[-int(y.sum())])
    top = max(float(layer.y.max()) for layer in layers)
    line = Layer("line", np.full(2, level), np.array([0.0, top]), "as many above it as bind", "#000000", dash="dash", size=3.6)
    return Chart(
        "Embeddings along the direction of the head",
        "logit (no unit)",
        "share of the residues of the class",
        (*layers, line),
        "Each embedding is projected on one direction, the weights of the head.",
        f"Of the {int(y.sum())} residues with the highest logits {y[z >= level].mean():.0%} bind; of all {y.mean():.0%}.",
        size=(7.0, 3.4),
    )


def heads_picture(precision: ArrayLike, base: float, chosen: Sequence[tuple[int, int]] = ()) -> Picture:
    """(L, H) precision of every attention head as a heat map; ``chosen`` (layer, head) are framed, ``base`` is guessing."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    p = np.asarray(precision, float)
    figure = Figure(figsize=(8.0, 3.1), facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    image = ax.imshow(p, cmap="cividis", vmin=0, aspect="auto")
    for layer, head in chosen:
        ax.add_patch(Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor=POCKETS[1], linewidth=2.2))
    ax.set_xticks(range(0, p.shape[1], 2), [str(k + 1) for k in range(0, p.shape[1], 2)])
    ax.set_yticks(range(p.shape[0]), [str(k + 1) for k in range(p.shape[0])])
    ax.set(xlabel="head", ylabel="layer")
    figure.colorbar(image, ax=ax, label="precision")
    ax.set_title(f"Precision of contacts from each attention head (guessing: {base:.3f})", loc="left", size=11)
    first = divmod(int(p.argmax()), p.shape[1])
    best = f"layer {first[0] + 1}, head {first[1] + 1}, precision {p.max():.2f}"
    alt = f"Best: {best}; median head {np.median(p):.3f}; guessing {base:.3f}."
    return Picture(figure, alt)


def attention_picture(attention: ArrayLike, title: str) -> Picture:
    """One raw attention map, (n, n): row i has the weights of residue i; the colour scale ends at the 99.5th percentile."""
    from matplotlib.figure import Figure

    a = np.asarray(attention, float)
    figure = Figure(figsize=(5.4, 4.6), facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    image = ax.imshow(a, cmap="cividis", vmin=0, vmax=max(float(np.quantile(a, 0.995)), 1e-6), interpolation="nearest")
    ax.set(xlabel="residue that is attended to (index)", ylabel="residue that attends (index)")
    ax.set_title(title, loc="left", size=11)
    figure.colorbar(image, ax=ax, label="attention (share)")
    i, j = np.indices(a.shape)
    near = float(a[np.abs(i - j) <= 3].sum() / a.sum())
    return Picture(figure, f"{title}: {near:.0%} of the attention between residues goes to positions at most 3 away.")


def attention_chart(evidence: ArrayLike, contacts: ArrayLike, name: str, config: AttentionConfig | None = None) -> Chart:
    """Real contacts (above the diagonal) and the n pairs of an n-residue chain with the highest evidence (below it)."""
    e, c = np.asarray(evidence, float), np.asarray(contacts, bool)
    separation = (config or AttentionConfig()).separation
    n = len(c)
    i, j = np.triu_indices(n, separation)
    best = np.argsort(-e[i, j], kind="stable")[:n]
    right = c[i[best], j[best]]
    real = c[i, j]

    def points(x: NDArray[Any], y: NDArray[Any], label: str, color: str, symbol: str, size: float) -> Layer:
        return Layer("points", x.astype(float), y.astype(float), label, color, symbol=symbol, size=size)

    precision, base = contact_precision(e, c, config)
    return Chart(
        f"{name}: attention compared with contacts",
        "index of the residue",
        "index of the residue",
        (
            points(j[real], i[real], "real contact", OUTSIDE, "square", 2.0),
            points(i[best][~right], j[best][~right], "attention, no contact", POCKETS[1], "triangle", 2.8),
            points(i[best][right], j[best][right], "attention, contact", POCKETS[0], "circle", 3.0),
        ),
        f"Pairs at least {separation} positions apart. Above the diagonal: CA atoms closer than "
        f"{(config or AttentionConfig()).distance:g} Å. Below: the {n} pairs with the highest attention.",
        f"{int(right.sum())} of the {n} best pairs are contacts ({float(precision):.0%}); among all pairs {base:.1%} are.",
        x_range=(-1.0, float(n)),
        y_range=(float(n), -1.0),
        equal=True,
        size=(6.8, 5.0),
    )
