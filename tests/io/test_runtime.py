"""Time and memory of a call, and what a call for help need not load."""

from __future__ import annotations

import subprocess
import sys

from s2p.io.runtime import measure, peak_megabytes


def test_help_loads_neither_torch_nor_numba() -> None:
    code = (
        "import sys; from s2p.commands import build_parser; build_parser(); print({'torch', 'numba', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_measure() -> None:
    def allocate() -> int:
        block = bytearray(200_000_000)
        return len(block)

    before = peak_megabytes()
    result, seconds, peak = measure(allocate)
    assert result == 200_000_000
    assert seconds > 0
    assert peak >= 200 and peak >= before - 50
