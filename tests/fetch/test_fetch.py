"""Fetching a dataset: what is there already, what is chosen, terms, space, interruptions."""

from __future__ import annotations

import json
import shutil
import signal
import threading

import pydantic
import pytest
from fakes.server import Server, wait_until
from tiny_dataset import (
    BIG,
    FILES,
    contents,
    getter,
    in_a_process,
    plain,
    sha_of,
    sourced,
    write_manifest,
)

from neurovis.errors import NeurovisError, UsageError
from neurovis.fetch.web import shown, tokens


@pytest.fixture
def server():
    with Server(FILES) as running:
        yield running


@pytest.fixture
def get(tmp_path, server):
    return getter(tmp_path, server)


# ---- what stands there already


def test_a_file_put_there_by_hand_is_read_once_and_not_fetched(tmp_path, server, get):
    sourced(tmp_path / "manifests", "s3")
    for path, data in FILES.items():
        target = tmp_path / "root" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    outcome = get()
    assert (outcome.whole, outcome.fetched) == (6, 0)
    assert not any(path.startswith("/s3/bucket.org/ds1/") for _, path, _ in server.asked)


def test_a_half_file_under_its_own_name_is_replaced(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {}})
    target = tmp_path / "root" / path
    target.parent.mkdir(parents=True)
    target.write_bytes(BIG[:1000])
    get()
    assert contents(tmp_path / "root") == {path: BIG}


@pytest.mark.parametrize("mine", [bytes(len(BIG)), BIG + b"more"], ids=["same size", "longer"])
def test_another_file_of_that_name_is_kept_aside(mine, tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {"sha256": sha_of(BIG)}})
    target = tmp_path / "root" / path
    target.parent.mkdir(parents=True)
    target.write_bytes(mine)
    outcome = get()
    assert contents(tmp_path / "root") == {path: BIG, f"{path}.old1": mine}
    assert "kept as raw.npy.old1" in str(outcome)


def test_a_file_changed_since_is_found_out(tmp_path, server, get):
    sourced(tmp_path / "manifests", "huggingface")
    get()
    target = tmp_path / "root" / "sub-01/ses-01/raw.npy"
    target.write_bytes(bytes(len(BIG)))
    assert get().fetched == 1
    assert target.read_bytes() == BIG


@pytest.mark.parametrize("at", ["sub-01/ses-01/raw.npy", "sub-01/ses-01"])
def test_a_folder_in_the_way_is_named(at, tmp_path, server, get):
    sourced(tmp_path / "manifests", "s3")
    place = tmp_path / "root" / at
    if at.endswith("npy"):
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True)
        place.write_text("a file")
    with pytest.raises(NeurovisError, match=r"expected a (file|folder).*found a (folder|file)"):
        get()


def test_the_memory_survives_a_line_cut_short(tmp_path, server, get):
    sourced(tmp_path / "manifests", "s3")
    get()
    log = tmp_path / "root/.neurovis/tiny-whole.jsonl"
    log.write_text(log.read_text()[:-20])
    assert get().fetched == 0
    get(relist=True)
    assert all(json.loads(line) for line in log.read_text().splitlines() if line.endswith("}"))
    (tmp_path / "root/.neurovis/tiny-files.json").write_text("{")
    with pytest.raises(NeurovisError, match=r"tiny-files.json: not valid JSON"):
        get()


def test_a_list_that_someone_changed_is_not_trusted(tmp_path, server, get):
    sourced(tmp_path / "manifests", "s3")
    get()
    memory = tmp_path / "root/.neurovis/tiny-files.json"
    data = json.loads(memory.read_text())
    data["sources"]["raw"]["files"][0]["path"] = "../../evil"
    memory.write_text(json.dumps(data))
    with pytest.raises(NeurovisError, match=r"damaged .*leaves the root.*delete it"):
        get()


def test_two_at_once_are_refused(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {"size": len(BIG)}})
    server.always[path] = "slow"
    first = threading.Thread(target=get)
    first.start()
    wait_until(lambda: server.gets(path) == 1)
    with pytest.raises(NeurovisError, match="another process fetches 'tiny' here"):
        get()
    server.release.set()
    first.join()
    assert contents(tmp_path / "root") == {path: BIG}


def test_a_file_system_without_locks_is_no_hindrance(tmp_path, get, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    sourced(tmp_path / "manifests", "s3")
    assert get().whole == 6
    assert "cannot be locked (No locks available)" in capsys.readouterr().err


# ---- choosing


def test_subjects_and_patterns(tmp_path, server, get):
    sourced(tmp_path / "manifests", "osf")
    outcome = get(subject=["1"], dry_run=True)
    assert outcome.todo == [
        "README (first).txt", "empty.txt", "sub-01/ses-01/events.tsv", "sub-01/ses-01/raw.npy",
    ]  # fmt: skip
    assert outcome.need == sum(len(FILES[path]) for path in outcome.todo)
    assert "would fetch 4 files, 700 kB" in str(outcome)
    assert contents(tmp_path / "root") == {}
    get(include=["*_raw.npy", "*.tsv"])
    assert set(contents(tmp_path / "root")) == {p for p in FILES if p.endswith(".tsv")}
    with pytest.raises(UsageError, match="subject '3' is unknown"):
        get(subject=["3"])
    with pytest.raises(NeurovisError, match=r"none of its owners' files match --include \*.fif"):
        get(include=["*.fif"])


def test_sources_into_folders_excluded_optional_and_named(tmp_path, server, get):
    sources = [
        {"name": "raw", "kind": "osf", "where": "abcde", "exclude": ["sub-02", "*.txt"]},
        {"name": "copies", "kind": "s3", "where": "bucket.org/ds1", "into": "b", "optional": True,
         "include": ["empty.txt"]},
    ]  # fmt: skip
    write_manifest(tmp_path / "manifests", sources=sources)
    get()
    raw = {"sub-01/ses-01/events.tsv", "sub-01/ses-01/raw.npy"}
    assert set(contents(tmp_path / "root")) == raw
    get(source=["copies"])
    assert set(contents(tmp_path / "root")) == raw | {"b/empty.txt"}
    with pytest.raises(UsageError, match="did you mean 'copies'"):
        get(source=["copy"])


def test_manifest_and_owners_must_agree(tmp_path, server, get):
    path = "empty.txt"
    files = [{"path": path, "source": "raw", "md5": "0" * 32}]
    sourced(tmp_path / "manifests", "s3", files=files)
    with pytest.raises(
        NeurovisError, match=r"has md5 d41d8.* in its owners' list, 000.* in the manifest"
    ):
        get()


def test_a_checksum_of_the_manifest_counts(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    files = [{"path": path, "source": "raw", "sha256": sha_of(BIG)}]
    server.sums = False
    sourced(tmp_path / "manifests", "s3", files=files)
    server.always[path] = "wrong"
    with pytest.raises(NeurovisError, match="differs from its sha256 checksum, twice"):
        get()


def test_a_file_that_its_owners_do_not_list_any_more(tmp_path, get):
    files = [{"path": f"sub-0{n}/ses-01/gone.npy", "source": "raw"} for n in (1, 2)]
    sourced(tmp_path / "manifests", "s3", files=files)
    said = r"2 of 8 files are missing.*sub-01/ses-01/gone.npy: its owners \(s3 bucket.org/ds1\) do not list"
    with pytest.raises(NeurovisError, match=said):
        get()
    with pytest.raises(NeurovisError, match="1 of 5 files are missing"):
        get(subject=["1"])
    assert get(include=["*.tsv"]).whole == 2


def test_what_a_reader_misses_though_all_came_is_noted(tmp_path, get):
    expects = ["sub-{subject}/ses-01/raw.npy", "sub-{subject}/ses-02/raw.npy"]
    sourced(tmp_path / "manifests", "s3", expects=expects)
    missing = "sub-01/ses-02/raw.npy, sub-02/ses-02/raw.npy"
    assert f"the reader also expects {missing}" in str(get())
    assert "also expects" not in str(get(include=["*.tsv"]))


def test_a_list_asked_anew_that_does_not_come_leaves_the_old_one(tmp_path, server, get):
    sourced(tmp_path / "manifests", "s3")
    get()
    server.listing_faults = [404]
    assert "note: source 'raw'" in str(get(relist=True))
    assert get().whole == 6


def test_a_name_that_is_file_and_folder_is_refused(tmp_path, server, get):
    server.files = {"a": b"1", "a/b": b"2"}
    sourced(tmp_path / "manifests", "s3")
    with pytest.raises(NeurovisError, match="'a' is a file and a folder"):
        get()


def test_a_root_that_is_a_file_and_a_dataset_without_sources(tmp_path, get):
    sourced(tmp_path / "manifests")
    (tmp_path / "root").write_text("")
    with pytest.raises(UsageError, match="expected a folder, found a file"):
        get()
    write_manifest(tmp_path / "manifests")
    with pytest.raises(UsageError, match="names no source"):
        get()


# ---- terms, tokens, space


TERMS = {"flag": "tiny-terms", "url": "https://example.org/terms", "text": "No redistribution."}


def test_terms_are_asked_for_once(tmp_path, server, get):
    sourced(tmp_path / "manifests", terms=TERMS)
    sentence = r"accept their terms \(https://example.org/terms\): No redistribution; .*add --accept tiny-terms"
    with pytest.raises(UsageError, match=sentence):
        get()
    with pytest.raises(UsageError, match=rf"{sentence}, found --accept terms"):
        get(accept=["terms"])
    assert server.asked == []
    assert get(dry_run=True).need > 0  # looking is free
    assert get(accept=["tiny-terms"], subject=["1"]).whole == 4
    assert get().whole == 6


def test_tokens_go_to_their_service_alone(tmp_path, server, get, capsys):
    with Server(FILES) as storage:
        server.always["sub-01/ses-01/raw.npy"] = f"{storage.url}/files/sub-01/ses-01/raw.npy"
        secret = "s3cret"
        where = server.where(tokens={"osf": pydantic.SecretStr(secret)})
        assert secret not in repr(where) + str(where)
        sourced(tmp_path / "manifests", "osf")
        get(where=where, quiet=False)
        assert server.asked[0][2]["Authorization"] == f"Bearer {secret}"
        assert storage.asked
        assert not any("Authorization" in headers for *_, headers in storage.asked)
    said = capsys.readouterr()
    assert secret not in said.out + said.err
    memory = (tmp_path / "root/.neurovis").iterdir()
    assert not any(secret in path.read_text() for path in memory)


def test_tokens_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("OSF_TOKEN", "abc")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert {k: v.get_secret_value() for k, v in tokens().tokens.items()} == {"osf": "abc"}


def test_what_is_secret_in_an_address_is_not_shown():
    assert shown("https://me:pw@host.org:8443/a/b?X-Signature=1#x") == "https://host.org:8443/a/b"


def test_space_is_said_and_checked_before_anything_comes(
    tmp_path, server, get, monkeypatch, capsys
):
    sourced(tmp_path / "manifests", "s3")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(NeurovisError, match=r"root: 1.4 MB needed, 1.0 MB free; make room"):
        get(quiet=False)
    assert "6 files to fetch, 1.4 MB; 1.0 MB free" in capsys.readouterr().err
    assert contents(tmp_path / "root") == {}
    assert get(subject=["1"]).whole == 4


# ---- interruptions


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_goes_on_from_there(sign, tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {}})
    server.always[path] = "slow"
    started = in_a_process(tmp_path, server)
    part = tmp_path / "root" / f"{path}.part"
    wait_until(lambda: part.is_file() and part.stat().st_size > 200_000)
    started.send_signal(sign)
    _, said = started.communicate(timeout=30)
    assert started.returncode == (130 if sign == signal.SIGINT else -9), said
    server.release.set()
    there = part.stat().st_size
    assert 0 < there < len(BIG)
    assert contents(tmp_path / "root") == {f"{path}.part": BIG[:there]}
    server.always.clear()
    assert get().size == len(BIG) - there
    assert contents(tmp_path / "root") == {path: BIG}


def test_a_full_disk_is_said_and_the_rest_comes_later(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {}})
    done = in_a_process(tmp_path, server, limit=400_000)
    _, said = done.communicate(timeout=30)
    assert done.returncode == 1
    assert "the disk (or this account's share of it) is full" in said
    assert len(said.strip().splitlines()) == 1
    outcome = get()
    assert outcome.size == len(BIG) - 400_000
    assert contents(tmp_path / "root") == {path: BIG}
