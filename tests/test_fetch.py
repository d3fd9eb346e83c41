"""Downloads from a server on this machine that behaves badly: resumed, verified, whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pydantic
import pytest
from conftest import ROOT
from fakes.server import Server, md5, wait_until

from neurovis.errors import NeurovisError, UsageError
from neurovis.fetch import amount, fetch
from neurovis.fetch.patterns import People, fill, heads, matches, reaches
from neurovis.fetch.web import shown, tokens
from neurovis.store import sha256

KINDS = {"osf": "abcde", "s3": "bucket.org/ds1", "figshare": "123", "huggingface": "lab/set"}
BIG = np.random.default_rng(0).bytes(700_001)
FILES = {
    "sub-01/ses-01/raw.npy": BIG,
    "sub-01/ses-01/events.tsv": b"onset\tduration\n",
    "sub-02/ses-01/raw.npy": BIG[::-1],
    "sub-02/ses-01/events.tsv": b"onset\tduration\n0.1\t0.2\n",
    "README (first).txt": b"read me",
    "empty.txt": b"",
}


def write_manifest(folder: Path, **changes) -> Path:
    """A manifest 'tiny' with a source of kind http; `changes` replace its fields."""
    content = {
        "format": "neurovis-manifest", "format_version": 1, "name": "tiny", "title": "Tiny",
        "licence": "CC0-1.0", "reader": "bids", "expects": ["sub-{subject}/ses-01/raw.npy"],
        "subjects": ["01", "02"], **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.json").write_text(json.dumps(content))
    return folder


def sourced(folder: Path, kind: str = "osf", **changes) -> Path:
    """A manifest with one source of this kind."""
    source = {"name": "raw", "kind": kind, "where": KINDS[kind], **changes.pop("source", {})}
    return write_manifest(folder, sources=[source], **changes)


def plain(folder: Path, server: Server, files: dict | None = None, **changes) -> Path:
    """A manifest whose http source names one file each, without sizes unless given."""
    entries = [{"path": path, "source": "web", **facts} for path, facts in (files or {}).items()]
    source = {"name": "web", "kind": "http", "where": f"{server.url}/files/"}
    return write_manifest(folder, sources=[source], files=entries, expects=[], **changes)


def contents(root: Path) -> dict[str, bytes]:
    found = (p for p in root.rglob("*") if p.is_file() and ".neurovis" not in p.parts)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}


@pytest.fixture
def server():
    with Server(FILES) as running:
        yield running


@pytest.fixture
def get(tmp_path, server):
    """Fetch the dataset 'tiny' of `tmp_path`/manifests into `tmp_path`/root."""

    def call(**options):
        options = {"quiet": True, "where": server.where(), **options}
        return fetch("tiny", tmp_path / "root", folder=tmp_path / "manifests", **options)

    return call


# ---- patterns


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


# ---- every kind of source


@pytest.mark.parametrize("sums", [True, False], ids=["checksums", "sizes alone"])
@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_once(kind, sums, tmp_path, server, get):
    server.sums = sums
    if kind == "figshare":
        server.files = {path.replace("/", "_"): data for path, data in FILES.items()}
    sourced(tmp_path / "manifests", kind)
    outcome = get()
    assert contents(tmp_path / "root") == server.files
    assert (outcome.whole, outcome.fetched) == (6, 6)
    assert outcome.size == sum(map(len, FILES.values()))
    before = len(server.asked)
    again = get()
    assert (again.whole, again.fetched, again.size) == (6, 0, 0)
    assert len(server.asked) == before  # nothing is asked again, not even for the list


@pytest.mark.parametrize("kind", KINDS)
def test_lists_lead_nowhere_else(kind, tmp_path, server, get):
    server.files = {"../evil.txt": b"evil", "good.txt": b"good"}
    sourced(tmp_path / "manifests", kind)
    with pytest.raises(NeurovisError, match=r"'\.\./evil\.txt' leaves the root"):
        get()
    assert contents(tmp_path) == {
        "manifests/tiny.json": (tmp_path / "manifests/tiny.json").read_bytes()
    }


@pytest.mark.parametrize("path", ["/etc/x", "a//b", "C:/x", "a\\b", "~/x", "a/./b", "a\nb"])
def test_paths_that_are_no_paths_are_refused(path, tmp_path, server, get):
    server.files = {path: b"evil"}
    sourced(tmp_path / "manifests", "huggingface")
    with pytest.raises(NeurovisError, match="leaves the root"):
        get()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "answer", [b"<html>Please log in</html>", b"\xff\xfe", b'{"a": 1}', b"[{}]"]
)
def test_lists_of_another_shape_are_refused(kind, answer, tmp_path, server, get):
    server.instead = answer
    sourced(tmp_path / "manifests", kind)
    if kind == "s3" and answer.startswith(b"<html>"):
        # well-formed, so an empty list
        with pytest.raises(NeurovisError, match="none of its owners' files match"):
            get()
        return
    with pytest.raises(NeurovisError, match=r"expected (JSON|XML)|not of the expected shape"):
        get()


def test_lists_that_declare_entities_are_refused(tmp_path, server, get):
    server.instead = (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        b"<ListBucketResult><Contents><Key>ds1/&a;</Key></Contents></ListBucketResult>"
    )
    sourced(tmp_path / "manifests", "s3")
    with pytest.raises(NeurovisError, match="declares entities"):
        get()


@pytest.mark.parametrize("kind", KINDS)
def test_lists_are_asked_for_with_patience(kind, tmp_path, server, get):
    server.files = {"a.txt": b"a"}
    faults = [503, (429, {"Retry-After": "0"})] + (["drop"] if kind == "osf" else [])
    server.listing_faults = faults[:2]
    sourced(tmp_path / "manifests", kind)
    assert get().whole == 1


def test_a_limit_of_requests_is_respected(tmp_path, server, get):
    server.listing_faults = [(429, {"Retry-After": "1800"})]
    sourced(tmp_path / "manifests")
    with pytest.raises(
        NeurovisError, match=r"answers 429 .* asks to wait 30 min .* same command again"
    ):
        get()
    assert len(server.asked) == 1
    assert get().whole == 6


@pytest.mark.parametrize(
    ("kind", "where", "said"),
    [
        ("osf", "zzzzz", r"/osf/nodes/zzzzz/files/osfstorage/: is not there any more"),
        ("s3", "no.such.bucket/x", r"/s3/no.such.bucket: is not there any more"),
        ("huggingface", "lab/gone", r"refused \(401\); it is private, or needs an access token"),
    ],
)
def test_a_dead_source_is_named(kind, where, said, tmp_path, get):
    sourced(tmp_path / "manifests", kind, source={"where": where})
    with pytest.raises(NeurovisError, match=rf"source 'raw': http.*{said}"):
        get()


def test_buckets_of_other_regions(tmp_path, server, get):
    server.region = "us-east-2"
    sourced(tmp_path / "manifests", "s3")
    assert get().whole == 6
    assert all("/s3.us-east-2/" in path for _, path, _ in server.asked[1:])


def test_buckets_are_asked_for_what_is_wanted_alone(tmp_path, server, get):
    source = {"include": ["sub-{subject}/ses-*/*.tsv", "README (first).txt"]}
    sourced(tmp_path / "manifests", "s3", source=source)
    assert get(subject=["2"]).whole == 2
    prefixes = [path for _, path, _ in server.asked if "prefix=" in path]
    assert all("sub-02" in path or "README" in path for path in prefixes)
    assert get(subject=["1"]).whole == 2  # the list grows by what was not asked yet
    assert set(contents(tmp_path / "root")) == {
        "sub-01/ses-01/events.tsv", "sub-02/ses-01/events.tsv", "README (first).txt",
    }  # fmt: skip


def test_folders_are_not_listed_in_vain(tmp_path, server, get):
    sourced(tmp_path / "manifests", "osf", source={"include": ["sub-02/**"]})
    assert get().whole == 2
    listed = [path for _, path, _ in server.asked if path.startswith("/osf")]
    assert not any(b"sub-01".hex() in path for path in listed)


def test_a_service_without_pages_and_links_to_elsewhere(tmp_path, server, get):
    server.files = {f"{n}.txt": b"%d" % n for n in range(12)}
    server.knows_pages = False
    sourced(tmp_path / "manifests", "figshare")
    assert get().whole == 12
    server.link_only = {"3.txt"}
    with pytest.raises(NeurovisError, match=r"'3.txt' is only a link to elsewhere"):
        get(relist=True)


def test_addresses_are_those_of_the_services(tmp_path):
    where = tokens()
    assert where.s3.format(region=".us-east-2") == "https://s3.us-east-2.amazonaws.com"
    for name in ("osf", "s3", "figshare", "huggingface"):
        assert getattr(where, name).startswith("https://")


# ---- one file, badly served


@pytest.mark.parametrize("version", ["with checksum", "without"])
@pytest.mark.parametrize("second", ["none", "ignore range", "other range", "no version", "unsized"])
def test_a_lost_connection_is_taken_up(second, version, tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    facts = {"sha256": sha_of(BIG)} if version == "with checksum" else {}
    plain(tmp_path / "manifests", server, {path: facts})
    server.faults[path] = ["drop", second]
    outcome = get()
    assert contents(tmp_path / "root") == {path: BIG}
    asked = [h for m, p, h in server.asked if m == "GET"]
    assert "Range" not in asked[0]
    assert asked[1]["Range"].startswith("bytes=")
    assert asked[1]["If-Range"] == f'"{md5(BIG)}"'
    # bytes of no use are not counted
    assert outcome.size == len(BIG)


def sha_of(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_only_the_rest_is_transferred(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {}})
    server.faults[path] = ["drop", "drop", "drop", "drop"]
    assert get().whole == 1  # each attempt made progress, so that none was the last
    starts = [int(h["Range"][6:-1]) for m, p, h in server.asked if "Range" in h]
    assert starts == sorted(starts)
    assert len(set(starts)) == 4


def test_another_version_in_the_middle_starts_anew(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {}})
    server.faults[path] = ["drop", "new version"]
    get()
    assert contents(tmp_path / "root") == {path: server.files[path]}
    assert server.files[path] != BIG


def test_the_rest_of_another_version_is_not_appended(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {}})
    server.faults[path] = ["drop", "stale part"]
    get()
    assert contents(tmp_path / "root") == {path: server.files[path]}
    assert server.files[path] != BIG


@pytest.mark.parametrize("known", ["with checksum", "without"])
def test_without_a_version_a_half_file_counts_if_a_checksum_vouches(known, tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    facts = {"sha256": sha_of(BIG)} if known == "with checksum" else {}
    plain(tmp_path / "manifests", server, {path: facts})
    part = tmp_path / "root" / f"{path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BIG[:300_000])
    outcome = get()
    assert contents(tmp_path / "root") == {path: BIG}
    assert outcome.size == len(BIG) - (300_000 if facts else 0)


def test_a_half_file_of_other_bytes_is_found_out(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {"sha256": sha_of(BIG)}})
    part = tmp_path / "root" / f"{path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(300_000))
    get()
    assert contents(tmp_path / "root") == {path: BIG}


def test_a_complete_part_is_not_fetched_again(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {"sha256": sha_of(BIG), "size": len(BIG)}})
    part = tmp_path / "root" / f"{path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BIG)
    get()
    assert contents(tmp_path / "root") == {path: BIG}
    assert server.asked == []


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "figshare"])
@pytest.mark.parametrize("fault", ["wrong", "truncate"])
def test_wrong_bytes_are_fetched_anew_once(fault, kind, tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    server.files = {path: BIG}
    sourced(tmp_path / "manifests", kind)
    server.faults[path] = [fault]
    assert get().whole == 1
    assert contents(tmp_path / "root") == {path: BIG}


@pytest.mark.parametrize("fault", ["wrong", "truncate"])
def test_bytes_that_stay_wrong_are_refused(fault, tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    sourced(tmp_path / "manifests", "s3")
    server.always[path] = fault
    with pytest.raises(
        NeurovisError, match=rf"1 of 6 files are missing.*{path}: what http.* sends "
    ):
        get()
    good = {name: data for name, data in FILES.items() if name != path}
    assert contents(tmp_path / "root") == good
    server.always.clear()
    assert get().fetched == 1
    assert contents(tmp_path / "root") == FILES


def test_a_truncated_file_of_unknown_size_is_told_by_its_checksum(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {"md5": md5(BIG), "size": len(BIG)}})
    server.always[path] = "unsized"
    get()
    assert contents(tmp_path / "root") == {path: BIG}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (404, "is not there any more; its owners moved or removed it"),
        (410, "is not there any more"),
        (403, r"refused \(403\)"),
        (400, "answers 400"),
        ("html", "sends a web page in place of the file; its link is dead or asks to log in"),
        ("http://example.org/x", "redirects to http://example.org/x: expected an https address"),
        ("ftp://example.org/x", "expected an https address"),
        (503, r"answers 503 Service Unavailable \(3 attempts\)"),
    ],
)
def test_a_dead_link_is_said_and_the_rest_comes(fault, said, tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    sourced(tmp_path / "manifests", "osf")
    server.always[path] = fault
    with pytest.raises(NeurovisError, match=said) as raised:
        get()
    text = str(raised.value)
    assert "tiny: 1 of 6 files are missing, the others are kept (5 fetched now)" in text
    assert "See: neurovis doctor tiny --root" in text
    assert "\n" not in text
    assert contents(tmp_path / "root") == {k: v for k, v in FILES.items() if k != path}
    assert not list((tmp_path / "root").rglob("*.part"))


def test_redirects_in_a_circle_end(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {"size": len(BIG)}})
    server.always[path] = f"{server.url}/files/{path}"
    with pytest.raises(NeurovisError, match="redirects in a circle"):
        get()


def test_a_busy_server_is_waited_for(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {"size": len(BIG)}})
    server.faults[path] = [
        (503, {"Retry-After": "0"}),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    ]
    assert get().whole == 1


def test_the_next_source_helps(tmp_path, server, get):
    with Server({"copy/sub-01/ses-01/raw.npy": BIG}) as other:
        path = "sub-01/ses-01/raw.npy"
        sources = [
            {"name": "owners", "kind": "s3", "where": "bucket.org/ds1", "include": ["sub-01/**"]},
            {"name": "mirror", "kind": "http", "where": f"{other.url}/files/copy/"},
        ]
        files = [{"path": path, "source": "mirror", "size": len(BIG)}]
        write_manifest(tmp_path / "manifests", sources=sources, files=files, expects=[])
        server.always[path] = 404
        outcome = get()
    assert contents(tmp_path / "root")[path] == BIG
    assert "fetched from http" in str(outcome)
    assert "not there any more" in str(outcome)


def test_a_source_that_is_gone_is_a_note_where_another_has_all(tmp_path, server, get):
    sources = [
        {"name": "gone", "kind": "osf", "where": "zzzzz"},
        {"name": "here", "kind": "s3", "where": "bucket.org/ds1"},
    ]
    write_manifest(tmp_path / "manifests", sources=sources)
    assert "note: source 'gone'" in str(get())
    write_manifest(tmp_path / "manifests", sources=sources, expects=["extra-{subject}.npy"])
    with pytest.raises(NeurovisError, match="source 'gone'"):
        get()


def test_without_a_network_each_file_is_not_waited_for(tmp_path, server, get):
    server.files = {f"{n:02d}.txt": b"%d" % n for n in range(40)}
    server.page = 100
    sourced(tmp_path / "manifests", "osf")
    get(dry_run=True)
    where = server.where(attempts=1)
    server.__exit__()
    with pytest.raises(NeurovisError, match=r"40 of 40 files are missing.*refuses the connection"):
        get(where=where, n_jobs=1)


def test_a_server_that_never_answers(tmp_path, get):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with Server() as server:
            sourced(tmp_path / "manifests", "osf")
            silent = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            where = server.where(osf=silent, timeout=0.2, attempts=2)
            with pytest.raises(NeurovisError, match=r"does not answer \(2 attempts\)"):
                get(where=where)


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

SCRIPT = """
import json, os, resource, sys
from neurovis.errors import NeurovisError
from neurovis.fetch import Where, fetch
folder, root, where, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    print(fetch("tiny", root, folder=folder, quiet=True, where=Where(**json.loads(where))))
except KeyboardInterrupt:
    sys.exit(130)
except NeurovisError as error:
    sys.exit(f"said: {error}")
"""


def in_a_process(tmp_path, server, limit: int = 0) -> subprocess.Popen:
    where = server.where().model_dump_json()
    words = [
        sys.executable,
        "-c",
        SCRIPT,
        tmp_path / "manifests",
        tmp_path / "root",
        where,
        str(limit),
    ]
    return subprocess.Popen(
        list(map(str, words)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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


# ---- archives


def archive(path: Path, members: dict[str, bytes], kind: str) -> bytes:
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as file:
            for name, data in members.items():
                source = path.with_name("member")
                source.write_bytes(data)
                file.add(source, name)
    return path.read_bytes()


@pytest.mark.parametrize("how", ["beside", "folder"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives_are_unpacked_once(kind, how, tmp_path, server, get):
    name = f"raw/sub-01.{kind}"
    members = {"ses-01/raw.npy": BIG, "ses-01/a.tsv": b""}
    server.files = {name: archive(tmp_path / "made", members, kind)}
    sourced(tmp_path / "manifests", "osf", source={"unpack": how})
    get()
    base = "raw" if how == "beside" else "raw/sub-01"
    there = {f"{base}/{path}": data for path, data in members.items()}
    assert contents(tmp_path / "root") == there
    assert get().fetched == 0
    assert server.gets(name) == 1
    (tmp_path / "root" / base / "ses-01/raw.npy").unlink()
    assert get().fetched == 1
    assert contents(tmp_path / "root") == there


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt"])
def test_archives_write_nowhere_else(name, kind, tmp_path, server, get):
    path = tmp_path / "made"
    if kind == "zip":
        data = archive(path, {"good.txt": b"", name: b"evil"}, kind)
    else:
        with tarfile.open(path, "w:gz") as file:
            member = tarfile.TarInfo(name)
            file.addfile(member)
        data = path.read_bytes()
    server.files = {f"a.{kind}": data}
    sourced(tmp_path / "manifests", "osf", source={"unpack": "beside"})
    with pytest.raises(NeurovisError, match=r"leaves the root.*archive is refused"):
        get()
    assert set(contents(tmp_path / "root")) == {f"a.{kind}"}
    assert not (tmp_path / "evil.txt").exists()


def test_links_encrypted_and_damaged_archives_are_refused(tmp_path, server, get):
    path = tmp_path / "made"
    with tarfile.open(path, "w:gz") as file:
        link = tarfile.TarInfo("etc")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        file.addfile(link)
    server.files["a.tar.gz"] = path.read_bytes()
    with zipfile.ZipFile(path, "w") as file:
        member = zipfile.ZipInfo("etc")
        member.external_attr = 0o120777 << 16
        file.writestr(member, "/etc")
    server.files["b.zip"] = path.read_bytes()
    plain_zip = bytearray(archive(path, {"x": b"secret"}, "zip"))
    for sign in (b"PK\x03\x04", b"PK\x01\x02"):
        plain_zip[plain_zip.index(sign) + (6 if sign == b"PK\x03\x04" else 8)] |= 1
    server.files["c.zip"] = bytes(plain_zip)
    server.files["d.zip"] = BIG
    whole = bytearray(archive(path, {"x": BIG}, "zip"))
    whole[5000] ^= 1
    server.files["e.zip"] = bytes(whole)
    sourced(tmp_path / "manifests", "osf", source={"unpack": "folder"})
    for name, said in {
        "a.tar.gz": "'etc' is a link or a device",
        "b.zip": "'etc' is a link",
        "c.zip": "c.zip: encrypted; its owners give the password",
        "d.zip": r"d.zip: a damaged archive",
        "e.zip": r"e.zip: a damaged archive \(Bad CRC-32",
    }.items():
        with pytest.raises(NeurovisError, match=said):
            get(include=[name])
    assert not [p for p in (tmp_path / "root").rglob("*") if p.is_symlink()]
    assert set(contents(tmp_path / "root")) == {"a.tar.gz", "b.zip", "c.zip", "d.zip", "e.zip"}
    assert sha256(tmp_path / "root/d.zip") == sha_of(BIG)
