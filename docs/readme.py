"""Writes the README's figures, its table of bundled examples, and the output of the demo.

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
CARD = ROOT / "s2p" / "checkpoints" / "surface.json"
MEASURED = ROOT / "benchmarks" / "surface.json"
ROWS = {
    "dca < 4 Å, top N": "DCA < 4 Å, top N",
    "dca < 4 Å, top N+2": "DCA < 4 Å, top N+2",
    "dcc < 4 Å, top N": "DCC < 4 Å, top N",
    "dcc < 4 Å, top N+2": "DCC < 4 Å, top N+2",
    "dcc < 12 Å, top N+2": "DCC < 12 Å, top N+2",
    "dcc < 12 Å, top all": "DCC < 12 Å, all pockets",
    "PFI": "PFI (1 is best)",
    "pockets per protein": "pockets per protein",
    "best residue overlap": "best residue overlap",
    "residue average precision": "residues, average precision",
}
COLUMNS = {"default": "default, as shipped"}
HELD_OUT = {"test": "default, test", "test2": "default, fresh test"}


NOTE = """

In the first column the models that rank pockets were fitted on clusters left out of training and measured on these complexes by
`benchmarks.recipes.surface_calibration`. Those that are shipped were then fitted on both, and measured by `s2p evaluate`. Choices
were made on these complexes, which flatters both columns.

In the first column the calibration error of pocket probabilities is {right:.3f} where pockets at copies of an occupied site count
as right, {wrong:.3f} where they count as wrong. Without the residues of unoccupied copies of a site, which the table counts as
not binding, the residues have an average precision of {residues:.3f}. On 120 LIGYSIS validation chains below 30 % identity to any
training chain it is 0.478 (0.412–0.526), from the sequence alone (`--method published`) 0.368 (0.308–0.413).

The last two columns are test complexes: the earlier test set ({test}) and a fresh one
whose clusters occur in no other set ({test2}). No choice was made on them. Both were
measured twice: on 2026-11-29, and on 2026-11-30 after the default had begun to take places that surface points crowd around as
candidates. That change was chosen on validation complexes, after the first look had shown a weak DCC at N+2. The first look gave:

| first look | DCA N | DCA N+2 | DCC N | DCC N+2 | PFI |
|---|---|---|---|---|---|
{first}

On the earlier test set `--method published` has DCA < 4 Å 0.232 (top N) and 0.448 (top N+2), DCC < 12 Å 0.680 (N+2) and PFI
1.578.

[PocketNet](https://pypi.org/project/pocketnet/) 0.3.0 ran on 125 of the fresh test complexes (130 ligands): one of each cluster,
if it has at most 700 residues (`s2p evaluate --predictor benchmarks.peers:PocketNet`). Differences are paired by ligand, with
intervals over clusters:

| 125 fresh test complexes | default | PocketNet | difference |
|---|---|---|---|
| DCA < 4 Å, top N | 0.823 | 0.815 | +0.008 (−0.062 to +0.083) |
| DCA < 4 Å, top N+2 | 0.931 | 0.954 | −0.023 (−0.061 to +0.008) |
| DCC < 4 Å, top N | 0.623 | 0.562 | +0.062 (−0.031 to +0.156) |
| DCC < 4 Å, top N+2 | 0.762 | 0.800 | −0.038 (−0.116 to +0.038) |
| PFI | 1.64 | 3.33 | |
| residues, average precision, mean | 0.70 | 0.72 | |
| median time per structure, one thread of a busy machine | 0.56 s | 12.0 s | |
| memory, peak | 373 MB | 1,565 MB | |

All four intervals include zero. At the first look, with candidates from votes alone and on 106 of these complexes, the default
was 0.142 behind in the fourth row (−0.226 to −0.057). PocketNet was trained on simulations of complexes from the PDB, and some of
these may have been among them. Details are in [s2p/checkpoints](s2p/checkpoints/README.md)."""


def cell(value: list[float] | None) -> str:
    """A value and its interval, or a dash for what was not measured."""
    return f"{value[0]:.3f} ({value[1]:.3f}–{value[2]:.3f})" if value else "–"


def figures(card: dict[str, Any], measured: dict[str, Any]) -> str:
    """The table of pocket and residue figures.

    ``measured`` has the numbers of ``complexes``, ``sites`` and ``clusters``, and for each of :data:`COLUMNS` the :data:`ROWS` as
    [value, low, high], from the ``summary.csv`` of ``s2p evaluate``, and all of these for each of :data:`HELD_OUT`; the card has
    under ``pockets`` those of the ranking that did not see these complexes.
    """
    apart, n = card["pockets"], measured["complexes"]
    lines = [
        f"Validation: {n} complexes in {measured['clusters']} clusters (30 % identity), {measured['sites']} ligands, with 95 %",
        "intervals (bootstrap over clusters). N: number of ligands; DCA, DCC: pocket centre to the ligand's closest atom and to",
        "its centroid.",
        "",
        "| | default, ranking fitted apart | " + " | ".join([*COLUMNS.values(), *HELD_OUT.values()]) + " |",
        "|---" * (len(COLUMNS) + len(HELD_OUT) + 2) + "|",
    ]
    shown = [*(measured[name] for name in COLUMNS), *(measured["held out"][name] for name in HELD_OUT)]
    for row, label in ROWS.items():
        cells = [f"{apart[row]:.3f}" if row in apart else "–", *(cell(column.get(row)) for column in shown)]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    size = {name: "{complexes} in {clusters} clusters, {sites} ligands".format(**measured["held out"][name]) for name in HELD_OUT}
    names = [row for row in ROWS if row.startswith(("dca", "dcc < 4"))] + ["PFI"]
    looks = {label.removeprefix("default, "): measured["first look"][name] for name, label in HELD_OUT.items()}
    first = "\n".join(f"| {name} | " + " | ".join(f"{look[row][0]:.3f}" for row in names) + " |" for name, look in looks.items())
    return "\n".join(lines) + NOTE.format(
        first=first,
        **size,
        right=apart["calibration error"],
        wrong=apart["calibration error, copies missed"],
        residues=card["residues"]["average_precision_validation"],
    )


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
    new = replaced(text, "figures", figures(*(json.loads(path.read_text(encoding="utf-8")) for path in (CARD, MEASURED))))
    if check:
        if new != text:
            print("README.md: the figures are not those of the card; run python docs/readme.py", file=sys.stderr)
        return int(new != text)
    new = replaced(replaced(new, "demo output", demo()), "examples", examples())
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
