"""Section of the results page for what the parts of Vabs-Net are worth (:mod:`benchmarks.studies.vabsnet`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report.page import markdown_table

__all__ = ["vabsnet_section"]


def vabsnet_section(facts: Mapping[str, Any]) -> str:
    """Markdown of what :func:`benchmarks.studies.vabsnet.study` found."""
    rows = []
    for name, row in facts["rows"].items():
        residues = row["ligysis validation"]
        low, high = residues["auprc_95"]
        value, below, above, p = row["difference of the chains' auprc"]
        rows.append(
            [
                name,
                f"{row['structures']}",
                f"{residues['auprc']:.3f} ({low:.3f}–{high:.3f})",
                f"{residues['auc']:.3f}",
                f"{residues['mcc']:.3f}",
                "–" if value == below == above == 0 else f"{value:+.3f} ({below:+.3f} to {above:+.3f}), p {p:.2g}",
                f"{row['validation complexes, auprc']:.3f}",
            ]
        )
    training = facts["training"]
    chains = next(iter(facts["rows"].values()))["ligysis validation"]["chains"]
    head = ["network", "structures", "AUPRC, residues", "AUC", "MCC", "Δ AUPRC of a chain", "AUPRC, complexes"]
    lines = [
        "## Vabs-Net: what its parts are worth",
        "",
        f"Residues of {chains} LIGYSIS validation chains below 30 % identity to training, and of the validation complexes. Every"
        f" network is trained anew for as many steps as {training['epochs']} epochs of all structures take, on windows of"
        f" {training['max_residues']} residues: less than what is shipped, so that there was time for all. **Δ** is the mean"
        " difference of the chains' own AUPRC to the first row, with its interval and p. The network alone, without the stack.",
        "",
        *markdown_table(head, rows),
        "",
    ]
    return "\n".join(lines)
