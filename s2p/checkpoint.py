"""Checkpoints: one ``.safetensors`` with everything a prediction needs, and a ``.json`` card that says where it is from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from s2p.errors import WeightsError
from s2p.io.weights import SHIPPED, fill, find_weights, read_weights, weights_path, write_weights
from s2p.language.esm import BACKBONES, DEFAULT_HEADS, ResidueModel, load_backbone
from s2p.language.esm import find_weights as find_backbone
from s2p.pockets.ranking import PocketModel, PointScorer
from s2p.residues import ContextHead, Smoother

__all__ = ["Checkpoint", "OtherHead", "load_checkpoint", "save_checkpoint"]

FORMAT = "s2p-1"


@dataclass(frozen=True, eq=False)
class OtherHead:
    """What a head after the first has of its own; the language model is shared."""

    threshold: float
    """Residue threshold tuned on validation."""
    smoother: Smoother | None = None
    smoothing_threshold: float = 0.4
    pocket_model: PocketModel | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained predictor."""

    name: str
    model: ResidueModel
    smoother: Smoother | None
    pocket_model: PocketModel | None
    threshold: float
    """Residue threshold of the first head, tuned on validation."""
    smoothing_threshold: float
    ranking: str
    """``surface`` or ``published``, whichever was better on validation."""
    card: dict[str, Any] = field(default_factory=dict)
    """Data, split, seeds, validation figures, licence."""
    context: ContextHead | None = None
    """Turns the language model's logits and the surroundings into the final probabilities, if there is one."""
    points: PointScorer | None = None
    """Finds and ranks pockets on the surface, if there is one."""
    others: dict[str, OtherHead] = field(default_factory=dict)
    """By name of the head, of those of ``model`` after the first."""
    head: str = ""
    """The kind of site that all of this is for, a head of ``model``; empty: the first."""

    @property
    def sites(self) -> str:
        """Kind of site that is predicted: ``general``, ``cryptic``."""
        return self.head or self.model.heads[0]

    def with_head(self, head: str) -> Checkpoint:
        """The same model as a predictor of the sites of another of its heads, whose pockets are made as published."""
        own: dict[str, Any] = vars(self.others[head]) | {"context": None, "points": None, "others": {}}
        return replace(self, head=head, ranking="published", **own)


def save_checkpoint(checkpoint: Checkpoint, path: str | Path, *, half: bool = True) -> None:
    """Write ``path`` (``.safetensors``) and its card beside it.

    A model with low-rank updates beside its weights is stored as an adapter: the updates, and the name (``model.base``) and
    SHA-256 of the weights, which are looked for when it is loaded. After ``merge_lora(model.backbone)`` it is stored whole.
    ``half``: store fp16, half the size; residue probabilities of the bundled structures moved by 0.0012 at most.
    """
    model, arrays = checkpoint.model, dict[str, torch.Tensor]()
    adapter = _adapter(model)
    modules = {"residue": model, "smoother": checkpoint.smoother, "context": checkpoint.context}
    for prefix, module in (modules | {f"smoother_{name}": x.smoother for name, x in checkpoint.others.items()}).items():
        for key, value in (module.state_dict() if module is not None else {}).items():
            if ".lora_" in key or not (adapter and key.startswith("backbone.")):
                name = f"{prefix}.{key}".replace("residue.backbone.", "adapter.") if adapter else f"{prefix}.{key}"
                arrays[name] = value.half() if half and value.is_floating_point() else value
    if checkpoint.points is not None:  # small, and not all of it in the range of fp16
        arrays |= {f"points.{key}": torch.from_numpy(value) for key, value in checkpoint.points.arrays().items()}
    header = {
        "format": FORMAT,
        "name": checkpoint.name,
        "backbone": model.name,
        "heads": list(model.heads),
        "adapter": adapter,
        **_head(checkpoint),
        "context_sizes": checkpoint.context.sizes if checkpoint.context else None,
        "points": checkpoint.points.header() if checkpoint.points else None,
        "ranking": checkpoint.ranking,
        "other_heads": {name: _head(x) for name, x in checkpoint.others.items()},
    }
    write_weights(Path(path), arrays, header, checkpoint.card)


def _head(x: Checkpoint | OtherHead) -> dict[str, Any]:
    """What the header says of a head."""
    return {
        "threshold": x.threshold,
        "smoothing_threshold": x.smoothing_threshold,
        "smoother_width": x.smoother.width if x.smoother else None,
        "pocket_model": asdict(x.pocket_model) if x.pocket_model else None,
    }


def load_checkpoint(model: str | Path, *, backbone: str | Path | None = None, device: str | torch.device = "cpu") -> Checkpoint:
    """Load a shipped checkpoint by name or any by path.

    Parameters
    ----------
    model
        Name of a shipped checkpoint, or path of a ``.safetensors`` file.
    backbone
        Name of the backbone, or for an adapter the file of the weights that it belongs to.

    Raises
    ------
    WeightsError
        If there is no such checkpoint or it cannot be used.
    """
    shipped = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.safetensors")))
    path = find_weights(model, f"give the path of a .safetensors checkpoint, or one of {shipped}")
    header, arrays = read_weights(path, FORMAT, "not an s2p checkpoint; `s2p finetune` writes them")
    name = header["backbone"]
    if backbone is not None and str(backbone) != name and not Path(backbone).is_file():
        raise WeightsError(f"{path} was trained on {name}, not on {backbone}; drop --backbone or choose another model")
    # Checkpoints from before there were several heads do not say.
    residue = ResidueModel(name, heads=header.get("heads", DEFAULT_HEADS))
    given = Path(backbone) if backbone is not None and Path(backbone).is_file() else None
    if given is not None and not header.get("adapter"):
        raise WeightsError(f"{path} is no adapter, it has its own backbone: {given} would not be used; drop --backbone")
    _fill(residue, arrays, path, given, header.get("adapter"))
    if not header.get("adapter"):
        residue.base = header["name"]
    context = points = None

    def head_of(values: dict[str, Any], part: str) -> OtherHead:
        smoother, model = None, values.get("pocket_model")
        if values.get("smoother_width"):
            smoother = Smoother(residue.head.in_features, values["smoother_width"])
            fill(smoother, _part(arrays, part), path)
            smoother = smoother.to(device).eval()
        pockets = PocketModel.from_dict(model) if model else None
        return OtherHead(values["threshold"], smoother, values.get("smoothing_threshold", 0.4), pockets)

    if header.get("context_sizes"):
        context = ContextHead(*header["context_sizes"])
        fill(context, _part(arrays, "context"), path)
        context = context.to(device).eval()
    if header.get("points"):
        # Copies: a view of a few kB would keep the whole file in memory.
        points = PointScorer.from_parts({k: v.numpy().copy() for k, v in _part(arrays, "points").items()}, header["points"])
    # Earlier checkpoints of several heads have the thresholds of the others in their card only.
    of_others = header.get("other_heads") or header["card"].get("validation", {})
    others = {name: head_of(of_others[name], f"smoother_{name}") for name in residue.heads[1:]}
    own = head_of(header, "smoother")
    return Checkpoint(
        header["name"],
        residue.to(device).eval(),
        own.smoother,
        own.pocket_model,
        own.threshold,
        own.smoothing_threshold,
        header["ranking"],
        header["card"],
        context,
        points,
        others,
    )


def _part(arrays: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in arrays.items() if key.startswith(f"{name}.")}


def _adapter(model: ResidueModel) -> dict[str, Any] | None:
    """What the header says of the updates of a model, ``None`` without any."""
    from s2p.language.lora import base_checksum, lora_updates

    if not (updates := lora_updates(model.backbone)):
        return None
    rank, scale = len(updates[0][-1].lora_a), updates[0][-1].scale
    names = list(dict.fromkeys(name for _, name, _ in updates))
    known = {"base": model.base, "sha256": model.base_sha256 or base_checksum(model.backbone)}
    return known | {"rank": rank, "alpha": scale * rank, "targets": names}


def _fill(
    residue: ResidueModel, arrays: dict[str, torch.Tensor], path: Path, given: Path | None, adapter: dict[str, Any] | None
) -> None:
    """Give the residue model its weights; those of the backbone from elsewhere, for an adapter."""
    state = _part(arrays, "residue")
    if adapter:
        _put_adapter(residue, adapter, path, given)
        state |= {f"backbone.{key}": value for key, value in _part(arrays, "adapter").items()}
    report = residue.load_state_dict(state, strict=False)
    missing = [key for key in report.missing_keys if ".lora_" in key or not (adapter and key.startswith("backbone."))]
    if missing or report.unexpected_keys:
        raise WeightsError(f"{path}: damaged, {len(missing)} arrays are missing and {len(report.unexpected_keys)} unknown")
    if adapter:
        from s2p.language.lora import lora_updates

        for *_, update in lora_updates(residue.backbone):
            update.fold()


def _put_adapter(residue: ResidueModel, adapter: dict[str, Any], path: Path, given: Path | None) -> None:
    """Give the residue model the backbone that an adapter belongs to, with updates that are still to be filled."""
    from s2p.language.lora import add_lora, base_checksum

    base, wanted = adapter["base"], adapter["sha256"]
    try:
        if given is None and base not in BACKBONES:
            given = shipped if (shipped := weights_path(base)).is_file() else find_backbone(base, download=False)
        residue.backbone = load_backbone(residue.name, given)
    except WeightsError as error:
        raise WeightsError(f"{path} is an adapter of {base}: {error}, or give the file with --backbone") from None
    if (found := base_checksum(residue.backbone)) != wanted:
        raise WeightsError(
            f"{path} is an adapter of {base} with the SHA-256 {wanted[:12]}…, but that of {given or 'the weights found'} is "
            f"{found[:12]}…; give the weights that it was trained on with --backbone FILE"
        )
    add_lora(residue.backbone, adapter["rank"], adapter["alpha"], adapter["targets"])
    residue.base, residue.base_sha256 = base, found
