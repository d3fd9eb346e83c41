"""The doctor of a dataset: what is there, half there, missing, elsewhere, and the command that gets it."""

from __future__ import annotations

import pytest
from fakes.server import Server
from tiny_dataset import BIG, FILES, getter, plain, sourced, write_manifest

from neurovis import listing, manifest
from neurovis.cli import main
from neurovis.errors import NeurovisError


@pytest.fixture
def server():
    with Server(FILES) as running:
        yield running


@pytest.fixture
def get(tmp_path, server):
    return getter(tmp_path, server)


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """What the doctor says of 'tiny' under `tmp_path`/root, and whether all is well."""
    monkeypatch.setattr(manifest, "FOLDER", tmp_path / "manifests")
    (tmp_path / "root").mkdir()

    def call(root=tmp_path / "root", **options):
        text, good = listing.doctor("tiny", str(root), **options)
        return text.splitlines(), good

    return call


def starting(lines, word):
    (found,) = [line for line in lines if line.startswith(word)]
    return found


def test_nothing_is_there(tmp_path, doctor):
    sourced(tmp_path / "manifests", citation=["Somebody 2020"], unverified=["licence"])
    lines, good = doctor()
    assert not good
    assert lines[:4] == [
        "tiny: Tiny", "licence   CC0-1.0", "cite      Somebody 2020", "unchecked: licence",
    ]  # fmt: skip
    assert starting(lines, "nothing of") == "nothing of  01, 02"
    command = f"Get it: neurovis fetch tiny --root {tmp_path / 'root'} ("
    assert starting(lines, "Get it").startswith(command)


def test_without_a_root_it_says_what_the_dataset_is(tmp_path, doctor):
    note = {"note": "126 GB", "optional": True}
    terms = {"flag": "tiny-terms", "url": "https://example.org", "text": "No sharing."}
    sourced(tmp_path / "manifests", source=note, terms=terms)
    text, good = listing.doctor("tiny")
    assert good
    for line in (
        "terms     No sharing. (https://example.org) Accept: --accept tiny-terms",
        "source    raw: osf abcde, only if asked for (126 GB)",
        "expects   sub-{subject}/ses-01/raw.npy",
        "Next: neurovis fetch tiny --root DIR",
    ):
        assert line in text.splitlines()


def test_one_subject_is_there_and_the_other_is_missing(tmp_path, server, get, doctor):
    sourced(tmp_path / "manifests")
    get(subject=["1"])
    asked = len(server.asked)
    lines, good = doctor()
    assert not good
    assert starting(lines, "subject 01") == "subject 01  1 there"
    assert starting(lines, "nothing of") == "nothing of  02"
    command = (
        f"Get it: neurovis fetch tiny --root {tmp_path / 'root'} --subject 02 (700 kB to fetch, "
    )
    assert starting(lines, "Get it").startswith(command)
    assert len(server.asked) == asked  # it works without a network
    lines, good = doctor(subject=["1"])
    assert good
    assert lines[-1] == f"Next: neurovis preprocess bids --root {tmp_path / 'root'} --out OUT"


def test_all_is_there(tmp_path, get, doctor):
    sourced(tmp_path / "manifests")
    get()
    lines, good = doctor()
    assert good
    assert starting(lines, "Next").startswith("Next: neurovis preprocess bids")


@pytest.mark.parametrize("listed", [True, False])
def test_half_a_download_is_seen(listed, tmp_path, get, doctor):
    sourced(tmp_path / "manifests")
    if listed:
        get()
        (tmp_path / "root/sub-02/ses-01/raw.npy").unlink()
    else:
        for who in ("01", "02"):
            (tmp_path / f"root/sub-{who}/ses-01").mkdir(parents=True)
        (tmp_path / "root/sub-01/ses-01/raw.npy").write_bytes(BIG)
    (tmp_path / "root/sub-02/ses-01/raw.npy.part").write_bytes(BIG[:300_000])
    lines, good = doctor()
    assert not good
    assert starting(lines, "subject 01") == "subject 01  1 there"
    of = "300 kB of 700 kB" if listed else "300 kB so far"
    expected = f"subject 02  half there: sub-02/ses-01/raw.npy.part ({of})"
    assert starting(lines, "subject 02").startswith(expected)
    assert "--subject 02" in starting(lines, "Get it")


def test_files_of_another_size_are_seen(tmp_path, get, doctor):
    sourced(tmp_path / "manifests")
    get()
    (tmp_path / "root/sub-01/ses-01/raw.npy").write_bytes(BIG[:100_000])
    (tmp_path / "root/sub-02/ses-01/raw.npy").write_bytes(BIG + b"more")
    lines, good = doctor()
    assert not good
    half = "subject 01  half there: sub-01/ses-01/raw.npy (100 kB of 700 kB)"
    assert starting(lines, "subject 01") == half
    assert starting(lines, "subject 02") == "subject 02  of another size: sub-02/ses-01/raw.npy"
    assert get().fetched == 2
    assert doctor()[1]


def test_what_the_reader_does_not_need_is_not_missed(tmp_path, get, doctor):
    sourced(tmp_path / "manifests")
    get()
    (tmp_path / "root/sub-01/ses-01/events.tsv").unlink()
    assert doctor()[1]


@pytest.mark.parametrize("at", ["above", "below"])
def test_the_wrong_folder_is_told(at, tmp_path, doctor):
    sourced(tmp_path / "manifests")
    place = tmp_path / "root/data/sub-01/ses-01"
    place.mkdir(parents=True)
    (place / "raw.npy").write_bytes(BIG)
    given = tmp_path / "root" if at == "above" else tmp_path / "root/data/sub-01"
    lines, good = doctor(given)
    assert not good
    right = (tmp_path / "root/data").resolve()
    assert starting(lines, "did you mean") == f"did you mean --root {right}?"
    with pytest.raises(NeurovisError, match="no such folder, expected the root of 'tiny'"):
        doctor(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["sub-2", "sub02", "SUB-02"])
def test_a_folder_called_otherwise_is_told(name, tmp_path, doctor):
    sourced(tmp_path / "manifests")
    for folder in ("sub-01", name):
        (tmp_path / "root" / folder / "ses-01").mkdir(parents=True)
        (tmp_path / "root" / folder / "ses-01/raw.npy").write_bytes(BIG)
    lines, _ = doctor()
    assert starting(lines, "nothing of") == f"nothing of  02; found {name!r}, expected 'sub-02'"


def test_a_folder_of_another_subject_is_not_taken_for_a_slip(tmp_path, doctor):
    sourced(tmp_path / "manifests")
    (tmp_path / "root/sub-01/ses-01").mkdir(parents=True)
    (tmp_path / "root/sub-01/ses-01/raw.npy").write_bytes(BIG)
    lines, _ = doctor()
    assert starting(lines, "nothing of") == "nothing of  02"


def test_a_clone_without_its_content_is_told(tmp_path, doctor):
    sourced(tmp_path / "manifests")
    for who in ("01", "02"):
        (tmp_path / f"root/sub-{who}/ses-01").mkdir(parents=True)
        place = tmp_path / f"root/sub-{who}/ses-01/raw.npy"
        place.symlink_to("../../.git/annex/objects/xx/yy/MD5E-s1--0.npy")
    lines, good = doctor()
    assert not good
    said = (
        "subject 01  a link to nothing: sub-01/ses-01/raw.npy (a clone whose files were not fetched"
    )
    assert starting(lines, "subject 01").startswith(said)


def test_terms_and_folders_and_what_all_share(tmp_path, doctor):
    terms = {"flag": "tiny-terms", "url": "https://example.org", "text": "No sharing."}
    expects = ["sub-{subject}/meg/*_meg.ds", "stimuli/*.csv", "*_notes.txt"]
    sourced(tmp_path / "manifests", terms=terms, expects=expects)
    for who in ("01", "02"):
        (tmp_path / f"root/sub-{who}/meg/sub-{who}_meg.ds").mkdir(parents=True)
    lines, good = doctor()
    assert not good
    assert starting(lines, "shared") == "shared      missing: stimuli/*.csv, *_notes.txt"
    assert "Accept: --accept tiny-terms" in starting(lines, "terms")
    assert "--accept tiny-terms" in starting(lines, "Get it")
    (tmp_path / "root/stimuli").mkdir()
    (tmp_path / "root/stimuli/a.csv").write_text("")
    (tmp_path / "root/deep").mkdir()
    (tmp_path / "root/deep/my_notes.txt").write_text("")
    assert doctor()[1]


def test_many_subjects_take_one_line(tmp_path, doctor):
    sourced(tmp_path / "manifests", subjects=[f"{n:02d}" for n in range(1, 51)])
    lines, _ = doctor()
    assert starting(lines, "nothing of") == "nothing of  01, 02, 03, 04, 05, 06, 07, 08 and 42 more"


# ---- through the command line


def test_fetch_and_doctor_as_commands(tmp_path, server, monkeypatch, capsys):
    monkeypatch.setattr(manifest, "FOLDER", tmp_path / "manifests")
    names = [path for path in FILES if path.endswith("raw.npy")]
    plain(tmp_path / "manifests", server, {path: {} for path in names})
    root = str(tmp_path / "my data")
    assert main(["fetch", "tiny", "--root", root, "--dry-run"]) == 0
    assert "would fetch 2 files, 1.4 MB" in capsys.readouterr().out
    assert main(["fetch", "tiny", "--root", root, "--subject", "1", "--n-jobs", "1"]) == 0
    said = capsys.readouterr()
    assert "tiny: 1 files are whole (1 fetched, 700 kB)." in said.out
    assert f"Next: neurovis preprocess bids --root '{root}' --out OUT" in said.out
    assert "1 files to fetch, 700 kB; " in said.err
    assert "fetch: 100%" in said.err
    assert main(["doctor", "tiny", "--root", root, "--subject", "1"]) == 0
    assert main(["doctor", "tiny", "--root", root]) == 1
    assert f"Get it: neurovis fetch tiny --root '{root}' --subject 02" in capsys.readouterr().out
    server.always[names[1]] = 404
    assert main(["fetch", "tiny", "--root", root, "--quiet", "--relist"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("neurovis fetch: tiny: ") or "is not there any more" in said.err
    assert len(said.err.splitlines()) == 1
    write_manifest(tmp_path / "manifests", terms={"flag": "t", "url": "https://x.org", "text": "No."},
                   sources=[{"name": "raw", "kind": "osf", "where": "abcde"}])  # fmt: skip
    assert main(["fetch", "tiny", "--root", root]) == 2
    assert "add --accept t" in capsys.readouterr().err


def test_datasets_are_listed_with_what_people_ask_first(tmp_path, capsys):
    prepared = tmp_path / "prepared/synthetic-0123456789ab"
    prepared.mkdir(parents=True)
    (prepared / "provenance.json").write_text("{}")
    assert main(["list", "datasets", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:8] == [
        "name", "modality", "subjects", "images", "licence", "terms", "reader", "prepared",
    ]  # fmt: skip
    rows = {line.split()[0]: line for line in lines[1:]}
    assert {"bids", "lsl-csv", "synthetic", "table"} <= set(rows)
    assert "1 here" in rows["synthetic"]
    assert "1 here" not in rows["bids"]
    assert main(["list", "datasets", "lsl_*"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["list", "datasets", "nothing*"]) == 1
