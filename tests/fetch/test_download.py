"""One file from a server that drops, truncates, lies and redirects: whole or not there."""

from __future__ import annotations

import socket

import pytest
from fakes.server import Server, md5
from tiny_dataset import (
    BIG,
    FILES,
    KINDS,
    contents,
    getter,
    plain,
    sha_of,
    sourced,
    write_manifest,
)

from neurovis.errors import NeurovisError
from neurovis.fetch import Where
from neurovis.fetch.web import Web, check_address


@pytest.fixture
def server():
    with Server(FILES) as running:
        yield running


@pytest.fixture
def get(tmp_path, server):
    return getter(tmp_path, server)


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
    assert len(asked) == 2  # whatever the second answer is, it is made use of
    assert asked[1]["Range"].startswith("bytes=")
    assert asked[1]["If-Range"] == f'"{md5(BIG)}"'
    # bytes of no use are not counted
    assert outcome.size == len(BIG)


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
    assert get().size == len(BIG)
    assert contents(tmp_path / "root") == {path: BIG}


def test_half_a_file_that_the_server_does_not_go_on_with(tmp_path, server, get):
    path = "sub-01/ses-01/raw.npy"
    plain(tmp_path / "manifests", server, {path: {"sha256": sha_of(BIG)}})
    server.always[path] = "ignore range"
    part = tmp_path / "root" / f"{path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BIG[:300_000])
    assert get().size == len(BIG)
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


def test_nobody_outside_sends_us_to_this_machine():
    here = "http://127.0.0.1:8080/admin"
    with pytest.raises(
        NeurovisError, match=r"https://a.org/x redirects to http://127.0.0.1:8080/admin"
    ):
        check_address(here, "https://a.org/x?token=1", local=False)
    with pytest.raises(NeurovisError, match="expected an https address"):
        Web(Where()).once(here)
    with pytest.raises(NeurovisError, match="expected an https address"):
        Web(Where()).json("file:///etc/passwd")


def test_a_proxy_is_not_asked_for_this_machine(tmp_path, server, get, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    sourced(tmp_path / "manifests", "osf")
    assert get().whole == 6


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
    assert f"note: {path} came from {other.url}/files/copy/{path}, as " in str(outcome)
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


def test_a_service_that_is_down_is_not_asked_for_each_file(tmp_path, server, get):
    server.files = {f"{n:02d}.txt": b"%d" % n for n in range(40)}
    server.page = 100
    server.always = dict.fromkeys(server.files, 503)
    sourced(tmp_path / "manifests", "osf")
    with pytest.raises(NeurovisError, match=r"40 of 40 files are missing.*answers 503"):
        get(where=server.where(attempts=1), n_jobs=1)
    # the thread may have begun others before the third failure is heard of
    assert 3 <= sum(server.gets(path) for path in server.files) < 10


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
