"""Writes the README's figures from the shipped card, its table of bundled examples, and the output of the demo.

``python docs/readme.py`` after the checkpoint has changed; ``--check`` only says whether the figures are those of the card.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CARD = ROOT / "s2p" / "checkpoints" / "s2p-esm2-8m.json"
ROWS = {
    "dca < 4 Å, top N": "DCA < 4 Å, top N",
    "dca < 4 Å, top N+2": "DCA < 4 Å, top N+2",
    "dcc < 4 Å, top N+2": "DCC < 4 Å, top N+2",
    "dcc < 12 Å, top N+2": "DCC < 12 Å, top N+2",
    "dcc < 12 Å, top all": "DCC < 12 Å, all pockets",
    "PFI": "PFI (1 is best)",
    "best residue overlap": "best residue overlap",
    "pockets per protein": "pockets per protein",
}


def figures(card: dict[str, Any]) -> str:
    """The tables of pocket and residue figures."""
    columns = card["test_complexes"]
    n = card["data"]["complexes"]["test"], card["data"]["clusters"]["test"]
    lines = [
        f"On {n[0]} protein–ligand complexes in {n[1]} clusters (30 % identity) apart from training and",
        "validation; share of ligands found, with 95 % intervals (bootstrap over clusters). N: number of ligands; DCA, DCC:",
        "pocket centre to the ligand's closest atom and to its centroid. All columns have the default's residue probabilities,",
        "with structure context; `--method published`, which has none, is in [RESULTS](benchmarks/RESULTS.md).",
        "",
        "| | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for key, label in ROWS.items():
        cells = [f"{v:.3f} ({low:.3f}–{high:.3f})" for v, low, high in (table[key] for table in columns.values())]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    far = card["residues_ligysis_validation"]["below_30_percent"]
    first = next(iter(far.values()))
    lines += [
        "",
        f"Residues of {first['chains']} LIGYSIS validation chains below 30 % identity to any training chain, of which",
        f"{first['prevalence']:.1%} bind:",
        "",
        "| | AUPRC | AUC | best MCC | F1 there |",
        "|---|---|---|---|---|",
    ]
    for name, row in far.items():
        low, high = row["auprc_95"]
        lines.append(
            f"| {name} | {row['auprc']:.3f} ({low:.3f}–{high:.3f}) | {row['auc']:.3f} | {row['mcc']:.3f} | {row['f1']:.3f} |"
        )
    lines += [
        "",
        "The language model's best epoch was chosen on these chains; the structure-context head, thresholds and ranking on",
        "validation complexes. All figures are from the card, made stage by stage by `benchmarks.recipes`; what they",
        "may still flatter is said in [s2p/checkpoints](s2p/checkpoints/README.md).",
    ]
    return "\n".join(lines)


def demo() -> str:
    """What ``make demo`` prints at its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "s2p", "predict", "data/examples/6WQA.cif", "-o", folder]
        command += ["--format", "csv,json,pdb,pml,cxc,html,box"]
        for _ in range(2):  # the first may compile kernels
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        printed = done.stdout.rstrip().replace(folder, "runs/demo")
    return f"```\n{printed}\nLook at runs/demo/6WQA_report.html and runs/demo/quickstart.html in a browser.\n```"


def examples() -> str:
    """The table of the bundled structures."""
    command = [sys.executable, str(ROOT / "benchmarks" / "examples.py")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def replaced(text: str, name: str, block: str) -> str:
    """The README with the block between its two comments exchanged."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"README.md has no block '{name}'")
    return pattern.sub(lambda found: found[1] + block + found[2], text)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    new = replaced(text, "figures", figures(json.loads(CARD.read_text(encoding="utf-8"))))
    if check:
        if new != text:
            print("README.md: the figures are not those of the card; run python docs/readme.py", file=sys.stderr)
        return int(new != text)
    new = replaced(replaced(new, "demo output", demo()), "examples", examples())
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
