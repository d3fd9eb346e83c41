"""Manifests: each is valid and agrees with its reader; a wrong field is refused with the nearest right one."""

from __future__ import annotations

import json
import re

import pytest
from fakes.bids import write_bids

from neurovis import listing
from neurovis.datasets import load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.fetch.patterns import fill, heads
from neurovis.manifest import manifests, read_manifest

NO_MANIFEST = {"table"}
"""Reads recordings that have no dataset's form."""


def test_every_dataset_has_a_manifest_and_every_manifest_a_reader():
    readers = {read_manifest(name).reader for name in manifests()}
    assert readers == set(load_datasets()) - NO_MANIFEST


@pytest.mark.parametrize("name", manifests())
def test_a_manifest_agrees_with_its_reader(name):
    manifest = read_manifest(name)
    reader = load_datasets()[manifest.reader]
    assert set(manifest.protocols) == set(reader.recipes)
    assert manifest.citation
    assert manifest.splits
    assert all(
        len(words) > 10 for words in (*manifest.protocols.values(), *manifest.splits.values())
    )
    if manifest.subjects:
        assert manifest.fact("n_subjects") == len(manifest.subjects)
    if manifest.sources:
        assert manifest.url
        assert manifest.expects
        assert manifest.version
        assert any(not source.optional for source in manifest.sources)
    for source in manifest.sources:
        named = [file for file in manifest.files if file.source == source.name]
        assert source.kind != "http" or named, "an http source has the files that name it"
        if source.kind == "s3" and "/" not in source.where:
            assert "" not in heads(fill(source.include, ["1"])), "a whole bucket would be listed"
    # what nobody checked is said, what is not known is left open rather than made up
    unknown = [key for key, value in manifest.facts.items() if value is None]
    assert all(f"facts.{key}" in manifest.unverified for key in unknown)


@pytest.mark.parametrize("name", manifests())
def test_nothing_in_a_manifest_points_to_a_person(name):
    text = manifests()[name].read_text(encoding="utf-8")
    assert not re.search(r"/home/|/Users/|token=|X-Amz-|password:", text)


def written(folder, **changes):
    data = {
        "format": "neurovis-manifest", "format_version": 1, "name": "tiny", "title": "Tiny",
        "licence": "CC0-1.0", "reader": "bids", **changes,
    }  # fmt: skip
    (folder / "tiny.json").write_text(json.dumps(data))
    return folder


SOURCE = {"name": "raw", "kind": "osf", "where": "3jk45"}
TERMS = {"flag": "tiny", "url": "https://example.org", "text": "No redistribution."}


def file(**changes):
    return {"files": [{"path": "x", **changes}]}


def source(**changes):
    return {"sources": [{**SOURCE, **changes}]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"licences": "x"}, "did you mean 'licence'"),
        ({"licence": ""}, "Manifest.licence"),
        ({"name": "other"}, "Manifest.name"),
        ({"name": "Tiny Set"}, "Manifest.name"),
        ({"format": "other"}, "expected format"),
        ({"format_version": 99}, "update neurovis"),
        ({"citation": "one"}, "Manifest.citation"),
        ({"url": "ftp://x"}, "Manifest.url"),
        (file(path="../x"), "leaves the root"),
        (file(path="/x"), "leaves the root"),
        (file(path="a\\x"), "leaves the root"),
        (file(sha256="0"), "sha256"),
        (file(sha256="A" * 64), "sha256"),
        (file(md5="0" * 31), "md5"),
        (file(size=-1), "size"),
        (file(sha="0"), "did you mean 'sha256'"),
        (file(source="raw"), "source 'raw' is unknown"),
        ({"files": [{"path": "x"}, {"path": "x"}]}, "stands twice"),
        (source(name="Raw!"), "name"),
        (source(kind="ftp"), "kind"),
        (source(were="3jk45"), "did you mean 'where'"),
        (source(where="osf.io/3jk45"), "expected for osf: the five characters of a project"),
        (source(kind="s3", where="s3://bucket"), "expected for s3: bucket/prefix"),
        (source(kind="figshare", where="10.6084/m9.figshare.1"), "the number of an article"),
        (source(kind="huggingface", where="lab"), "expected for huggingface: owner/name"),
        (source(kind="http", where="http://example.org/"), "expected for http: https://"),
        (source(kind="http", where="https://example.org/a"), "expected for http: https://"),
        (source(into="../x"), "Source.into"),
        (source(include=["a/{sub}"]), "the only placeholder is {subject}"),
        (source(exclude=["/a"]), "Source.exclude"),
        (source(unpack="here"), "unpack"),
        ({"sources": [SOURCE, SOURCE]}, "'raw' stands twice"),
        ({"terms": {**TERMS, "url": "http://example.org"}}, "url"),
        ({"terms": {"flag": "a b", "url": "https://x.y", "text": "t"}}, "flag"),
        ({"terms": {**TERMS, "txt": "x"}}, "did you mean 'text'"),
        ({"expects": ["{session}/x"]}, "Manifest.expects"),
        ({"expects": ["../{subject}"]}, "Manifest.expects"),
        ({"subjects": ["01", "01"]}, "'01' stands twice"),
        ({"subjects": ["01"], "facts": {"n_subjects": 2}}, r"names 1, facts.n_subjects says 2"),
        ({"facts": {"n_subject": 2}}, "did you mean 'n_subjects'"),
        ({"facts": {"n_trials": -2}}, "facts.n_trials: expected a whole number"),
        ({"facts": {"n_trials": 2.5}}, "facts.n_trials"),
        ({"facts": {"n_sessions": [4, "x"]}}, "facts.n_sessions"),
        ({"facts": {"sfreq": 0}}, "facts.sfreq: expected a number above 0"),
        ({"unverified": ["fact.x"]}, "did you mean 'facts'"),
        ({"facts": {"n_trials": 1}, "unverified": ["facts.n_trial"]}, "did you mean 'n_trials'"),
        ({**source(), "unverified": ["sources.row"]}, "did you mean 'raw'"),
        ({**source(), "unverified": ["sources.raw.were"]}, "did you mean 'where'"),
        ({"unverified": ["terms.url.x"]}, "Manifest.unverified"),
        ({**file(), "unverified": ["files.y"]}, "files 'y' is unknown"),
    ],
)  # fmt: skip
def test_wrong_manifests_are_refused(changes, said, tmp_path):
    with pytest.raises(NeurovisError, match=said) as raised:
        read_manifest("tiny", written(tmp_path, **changes))
    assert "tiny.json" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_full_manifest_reads_back(tmp_path):
    facts = {
        "n_subjects": 2,
        "n_sessions": [4, 3],
        "n_trials": None,
        "sfreq": 1000,
        "own": {"a": 1},
    }
    unverified = ["facts.n_trials", "licence", "sources.raw", "sources.raw.where", "files.a/b.npy"]
    manifest = read_manifest(
        "tiny",
        written(
            tmp_path,
            terms=TERMS,
            sources=[
                {**SOURCE, "include": ["sub-{subject}/**"], "unpack": "folder", "optional": True},
                {"name": "s3", "kind": "s3", "where": "openneuro.org/ds004212"},
                {"name": "fig", "kind": "figshare", "where": "18470912/versions/2"},
                {"name": "hub", "kind": "huggingface", "where": "owner/re-po.x@v1.0"},
                {"name": "web", "kind": "http", "where": "https://example.org/a/"},
            ],
            files=[{"path": "a/b.npy", "size": None, "md5": "0" * 32, "source": "raw"}],
            expects=["sub-{subject}/raw.npy"],
            subjects=["01", "02"],
            facts=facts,
            unverified=[*unverified, "subjects", "terms.url"],
        ),
    )
    assert manifest.facts == facts
    assert manifest.fact("n_sessions") == [4, 3]
    assert manifest.source("fig").where == "18470912/versions/2"
    with pytest.raises(NeurovisError, match=r"does not know facts\.n_trials"):
        manifest.fact("n_trials")
    with pytest.raises(
        NeurovisError, match=r"fact 'n_session' is unknown; did you mean 'n_sessions'"
    ):
        manifest.fact("n_session")
    with pytest.raises(UsageError, match="did you mean 'fig'"):
        manifest.source("figs")


def test_unknown_dataset_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'bids'"):
        read_manifest("bid")
    assert read_manifest("lsl_csv").name == "lsl-csv"


def test_recordings_of_anyone_are_counted(tmp_path):
    root = write_bids(tmp_path / "bids", subjects=("01", "02"), n_runs=1)
    text, good = listing.doctor("bids", str(root))
    assert good
    assert "found 2 of 2 subjects" in text
    assert listing.fetch("bids", str(root)) == text
    with pytest.raises(NeurovisError, match="no such folder, expected the root of 'bids'"):
        listing.doctor("bids", str(tmp_path / "nowhere"))
