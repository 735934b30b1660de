"""Google Colab and its GPUs: the GPU in words, model sizes that fit it, the memory each takes, results on Drive, drawings."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from s2p.checkpoint import FORMAT
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.io.runtime import in_colab
from s2p.io.weights import SHIPPED
from s2p.language.sequences import BACKBONES, parameter_count
from s2p.training.config import FinetuneConfig

__all__ = [
    "choose_backbone",
    "choose_model",
    "download",
    "drawings_after",
    "gpu_memory",
    "gpu_sentence",
    "memory_sentence",
    "memory_table",
    "output_folder",
    "show_drawings",
]

DRIVE = Path("/content/drive")
ROOM = 0.7
"""Share of the GPU's memory that an estimate may fill: the rest goes to libraries and fragments."""
CHECKED = "Estimated by counting, which was checked on the CPU only."


def gpu_memory() -> int:
    """Bytes of the first GPU that PyTorch finds; 0 where there is none."""
    if find_spec("torch") is None:
        return 0
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else 0


def gpu_sentence() -> str:
    """Whether there is a GPU, and what to do if not."""
    if memory := gpu_memory():
        import torch

        return f"GPU: {torch.cuda.get_device_name(0)}, {memory / 1e9:.0f} GB."
    how = "choose Runtime > Change runtime type > T4 GPU and run from the top" if in_colab() else "use a machine with CUDA"
    return f"This runtime has no GPU. The smallest model needs none; larger ones would take hours without one. To get one, {how}."


def choose_model(memory: int) -> str:
    """The largest shipped Seq2Pocket whose weights fill at most half of ``memory`` (bytes); without a GPU the default."""
    cards = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(SHIPPED.glob("*.json"))}
    sizes = {
        path.stem: parameter_count(card["backbone"])
        for path, card in cards.items()
        if card.get("format") == FORMAT and path.with_suffix(".safetensors").is_file()
    }
    fits = {name: size for name, size in sizes.items() if 4 * size <= memory / 2}
    return max(fits, key=lambda name: (fits[name], name == DEFAULT_MODEL)) if fits else DEFAULT_MODEL


def choose_backbone(memory: int, config: FinetuneConfig) -> str:
    """The largest ESM-2 that ``config`` can train in ``memory`` (bytes), estimated; without a GPU the smallest."""
    from s2p.training.memory import estimate_memory  # needs PyTorch, which much of the course does without

    tokens = config.max_residues + 2  # a batch too large for the device is halved until it is one chain
    fits = [name for name in BACKBONES if estimate_memory(name, config, tokens).total <= ROOM * memory]
    return fits[-1] if fits else next(iter(BACKBONES))


def memory_table(sizes: Sequence[str]) -> str:
    """Estimated memory (GB) of the ways to fine-tune each backbone, as a Markdown table; one chain of full length a step.

    A sentence below the table says how far the estimates were checked.
    """
    from s2p.training.memory import estimate_memory

    ways = {
        "full": FinetuneConfig(),
        "full, 8-bit": FinetuneConfig(eight_bit=True),
        "full, 8-bit, checkpointing": FinetuneConfig(eight_bit=True, checkpointing=True),
        "LoRA 8": FinetuneConfig(lora_rank=8),
        "LoRA 8, checkpointing": FinetuneConfig(lora_rank=8, checkpointing=True),
    }
    rows = [["backbone", *ways], ["---"] * (len(ways) + 1)]
    for name in sizes:
        rows.append([name, *(f"{estimate_memory(name, c, 1024).total / 1e9:.1f}" for c in ways.values())])
    return "\n".join([*("| " + " | ".join(row) + " |" for row in rows), "", CHECKED])


def memory_sentence(backbone: str, config: FinetuneConfig) -> str:
    """Estimated memory of a training, with one chain of full length a step, beside that of the GPU."""
    from s2p.training.memory import estimate_memory

    name = backbone if backbone in BACKBONES else next(iter(BACKBONES))
    need = estimate_memory(name, config, config.max_residues + 2, device="cuda" if gpu_memory() else "cpu").total
    return f"estimated memory {need / 1e9:.1f} GB" + (f" of {memory / 1e9:.0f} GB" if (memory := gpu_memory()) else "")


def download(paths: Sequence[Path]) -> None:
    """Offer files to the browser, in Colab; elsewhere they are on your disk already."""
    if in_colab():
        from google.colab import files

        for path in paths:
            files.download(str(path))


def output_folder(name: str, use_drive: bool) -> Path:
    """``name`` as a folder that exists; with ``use_drive`` in Colab on Google Drive, where it survives a disconnect.

    Raises
    ------
    S2PError
        If Drive is asked for outside Colab.
    """
    folder = Path(name)
    if use_drive:
        if not in_colab():
            raise S2PError("use_drive works in Google Colab only; elsewhere give a folder that lasts as output_folder")
        from google.colab import drive

        drive.mount(str(DRIVE))
        folder = DRIVE / "MyDrive" / "s2p" / folder.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def drawings_after() -> dict[str, list[Path]]:
    """Source of a code cell -> the drawings in the text between it and the next one, for all notebooks of this checkout.

    Drawings further up than the imports, which are the second code cell, belong to the imports: the first, the set-up, is the
    same in all notebooks and comes before any code of ours.
    """
    notebooks, found = Path(__file__).resolve().parents[1], dict[str, list[Path]]()
    for path in [*notebooks.glob("*.ipynb"), *(notebooks.parent / "tutorial").glob("*.ipynb")]:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code, n = ["".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "code"], 0
        for cell in cells:
            n += cell["cell_type"] == "code"
            if cell["cell_type"] == "markdown":
                for name in re.findall(r"!\[[^]]*\]\(([\w./]+\.svg)\)", "".join(cell["source"])):
                    found.setdefault(code[max(n, 2) - 1], []).append((path.parent / name).resolve())
    return found


def show_drawings() -> None:
    """From now on, show the drawings of the text below the code cell before them.

    Colab opens a notebook without the files beside it, and text cells cannot show the clone's. ``course`` calls this there.
    """
    from IPython.core.getipython import get_ipython
    from IPython.display import SVG, display

    drawings = drawings_after()

    def show(result: Any) -> None:
        for path in drawings.get((result.info.raw_cell or "").strip(), []):
            display(SVG(filename=str(path)))

    if shell := get_ipython():
        shell.events.register("post_run_cell", show)
