"""Which paths a pattern means, and whose recording a path is."""

from __future__ import annotations

import pytest

from neurovis.errors import UsageError
from neurovis.fetch import amount
from neurovis.fetch.patterns import People, fill, heads, matches, reaches


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("*.npy", "a/b/c.npy", True),
        ("._*", "a/._b.tsv", True),
        ("README", "README", True),
        ("README", "sub-01/README", False),
        ("sub-*/raw.npy", "sub-01/raw.npy", True),
        ("sub-*/raw.npy", "sub-01/ses-1/raw.npy", False),
        ("sub-*/**/raw.npy", "sub-01/raw.npy", True),
        ("sub-*/**/raw.npy", "sub-01/a/b/raw.npy", True),
        ("sub-01/", "sub-01/a/b", True),
        ("sub-01", "sub-01/a/b", True),
        ("sub-01", "sub-011/a", False),
        ("a/*_meg.ds", "a/run_meg.ds/run.meg4", True),
        ("**", "a/b", True),
        ("a.b", "axb", False),
        ("x[1].npy", "x[1].npy", True),
    ],
)
def test_patterns(pattern, path, meant):
    assert matches(path, [pattern]) == meant
    folder = path.rpartition("/")[0]
    if meant and folder:
        assert reaches(pattern, folder)


def test_folders_that_hold_nothing_asked_are_known():
    assert not reaches("sub-01/*/raw.npy", "sub-02")
    assert not reaches("sub-01/*/raw.npy", "stimuli/large")
    assert reaches("sub-01/*/raw.npy", "sub-01/ses-01")
    assert not reaches("sub-01/*/raw.npy", "sub-01/ses-01/deeper")


def test_the_fewest_beginnings():
    assert heads(["a/b*", "a/bc/d", "z", "a/b?"]) == ["a/b", "z"]
    assert heads(["a/b*", "*.npy"]) == [""]


def test_whose_a_file_is():
    people = People(["sub-{subject}/ses-*/raw.npy", "x/prep_P{subject}-epo.fif"], ["1", "2", "12"])
    assert people.of("sub-12/ses-2/raw.npy") == {"12"}
    assert people.of("x/prep_P1-epo.fif") == {"1"}
    assert people.of("ses-2/run-1/all.npy") == set()
    assert people.keep("sub-1/a", ["1"])
    assert not people.keep("sub-12/a", ["1"])
    assert people.choose(["sub-2", "12", "2"]) == ["2", "12"]
    with pytest.raises(UsageError, match=r"subject '3' is unknown"):
        people.choose(["3"])
    assert People(["{subject}.mat"], ["S1", "S2"]).of("data/S2.mat") == {"S2"}
    assert People([], []).of("sub-7/x") == {"7"}
    assert fill(["a/{subject}", "b"], ["1", "2"]) == ["a/1", "a/2", "b"]


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2e9, "2.0 GB"), (126.4e9, "126 GB")],
)
def test_amounts(n, said):
    assert amount(n) == said
