"""The toy of notebook 06: pieces, merged sites, missed sites and their metrics."""

from __future__ import annotations

import numpy as np
import pytest

from course.pocket_toy import SITES, Toy, pocket_toy


def test_residues_of_the_sites_lie_in_their_circles() -> None:
    toy = pocket_toy(12)
    for site, (x, radius) in zip(toy.sites, SITES.values(), strict=True):
        apart = np.linalg.norm(toy.coord - (x, 0), axis=1)
        assert np.array_equal(np.flatnonzero(apart <= radius), site) and len(site) > 10


def test_every_predicted_residue_is_in_one_pocket_and_the_largest_is_first() -> None:
    toy = pocket_toy(12, -6, 6)
    together = np.concatenate(toy.pockets)
    assert len(np.unique(together)) == len(together) == 27
    assert [len(p) for p in toy.pockets] == sorted((len(p) for p in toy.pockets), reverse=True)


def test_pieces_and_merged_sites() -> None:
    pieces, joined, apart, merged = (pocket_toy(*s) for s in ((12, -6, 6), (12, -6, 12), (28, 0, 12), (28, 0, 21)))
    assert (pieces.pfi, joined.pfi, apart.pfi, merged.pfi) == (3, 1, 1, 1)
    assert (apart.merging, merged.merging) == (1, 2)
    assert (joined.missed, apart.missed) == (0.5, 0)
    assert apart.f1[0] == pytest.approx(2 * 13 / (13 + 19))  # all 13 residues lie in site A, which has 19


def test_pockets_beside_both_sites_have_no_pfi() -> None:
    toy = pocket_toy(0, -18, 9)
    assert np.isnan(toy.pfi) and toy.missed == 1 and toy.f1 == (0, 0)
    assert isinstance(toy, Toy) and "PFI nan" not in toy.words and toy.picture().png().startswith(b"\x89PNG")


def test_the_picture_says_what_it_shows() -> None:
    about = pocket_toy(28, 0, 21).picture().alt
    assert about == "1 pocket; 1 on site A, 1 on site B. PFI 1.00, merging 2.00, missed 0.00, F1 0.60."
