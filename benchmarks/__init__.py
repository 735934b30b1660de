"""How checkpoints are made, what was studied, other pocket finders, and the results page; not installed.

Run its commands from the folder of the repository (``python -m benchmarks.studies.sweep``).
"""

import sys
from pathlib import Path

# Some recipes and studies train or compare as the notebooks do: that code lies beside them.
sys.path.append(str(Path(__file__).resolve().parents[1] / "notebooks"))
