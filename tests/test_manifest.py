import json

import pytest
from fakes.bids import write_bids

from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import manifests, read_manifest, verify
from neurovis.prepare import load_datasets
from neurovis.store import sha256


def test_every_dataset_has_a_manifest_and_every_manifest_a_reader():
    datasets = load_datasets()
    # 'table' reads recordings that have no dataset's form
    expected = {name.replace("_", "-") for name in datasets} - {"table"}
    assert set(manifests()) == expected
    for name in manifests():
        manifest = read_manifest(name)
        assert manifest.reader in datasets
        assert manifest.licence
        assert manifest.splits


def written(folder, **changes):
    data = {
        "format": "neurovis-manifest", "format_version": 1, "name": "tiny", "title": "Tiny",
        "licence": "CC0-1.0", "reader": "bids", **changes,
    }  # fmt: skip
    (folder / "tiny.json").write_text(json.dumps(data))
    return folder


def test_checksums_are_verified(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_text("whole")
    files = [{"path": "a.txt", "sha256": sha256(root / "a.txt"), "size": 5}]
    written(tmp_path, files=files)
    assert verify("tiny", root, tmp_path) == "tiny: 1 files are whole."
    (root / "a.txt").write_text("whale")
    with pytest.raises(NeurovisError, match=r"a.txt: differs from its checksum"):
        verify("tiny", root, tmp_path)
    (root / "a.txt").unlink()
    with pytest.raises(NeurovisError, match=r"a.txt: missing \(1 of 1"):
        verify("tiny", root, tmp_path)


def test_recordings_of_anyone_are_counted(tmp_path):
    root = write_bids(tmp_path / "bids", subjects=("01", "02"), n_runs=1)
    assert "found 2 of 2 subjects" in verify("bids", root)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"licences": "x"}, "did you mean 'licence'"),
        ({"files": [{"path": "../x", "sha256": "0" * 64, "size": 1}]}, "leaves the root"),
        ({"files": [{"path": "x", "sha256": "0", "size": 1}]}, "sha256"),
        ({"name": "other"}, "Manifest.name"),
        ({"format": "other"}, "expected format"),
        ({"format_version": 99}, "update neurovis"),
    ],
)
def test_wrong_manifests_are_refused(tmp_path, changes, said):
    with pytest.raises(NeurovisError, match=said):
        read_manifest("tiny", written(tmp_path, **changes))


def test_unknown_dataset_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'bids'"):
        read_manifest("bid")
