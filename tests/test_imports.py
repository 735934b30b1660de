"""How little a prediction needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_prediction_from_the_command_line_imports_little(tmp_path: Path) -> None:
    arguments = ["predict", "data/examples/1ubi.pdb.gz", "--format", "csv", "--device", "cpu", "-o", str(tmp_path)]
    code = f"import sys\nfrom s2p.commands import main\nassert main({arguments!r}) == 0\nprint('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split("LOADED ")[1].split()
    ours = sorted(name for name in loaded if name.split(".")[0] in ("s2p", "benchmarks", "course"))
    for folder in ("benchmarks", "course", "s2p.evaluation", "s2p.training", "s2p.models"):
        assert not [name for name in ours if name == folder or name.startswith(f"{folder}.")]
    assert len(ours) <= 40, "\n".join(ours)
