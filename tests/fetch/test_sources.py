"""Lists of files as OSF, S3, Figshare and Hugging Face give them, good and bad."""

from __future__ import annotations

import pytest
from fakes.server import Server
from tiny_dataset import (
    FILES,
    KINDS,
    contents,
    getter,
    sourced,
)

from neurovis.errors import NeurovisError
from neurovis.fetch.web import tokens


@pytest.fixture
def server():
    with Server(FILES) as running:
        yield running


@pytest.fixture
def get(tmp_path, server):
    return getter(tmp_path, server)


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


def test_lists_may_come_packed(tmp_path, server, get):
    server.packs_lists = True
    sourced(tmp_path / "manifests", "osf")
    assert get().whole == 6


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
    assert (
        sum("/articles/" in path for _, path, _ in server.asked) == 2
    )  # one page and its repetition
    server.link_only = {"3.txt"}
    with pytest.raises(NeurovisError, match=r"'3.txt' is only a link to elsewhere"):
        get(relist=True)


def test_a_check_for_browsers_is_gone_round(tmp_path, server, get):
    server.files = {"a.txt": b"a"}
    server.challenge = True
    sourced(tmp_path / "manifests", "figshare")
    outcome = get()
    assert (tmp_path / "root/a.txt").read_bytes() == b"a"
    assert "ndownloader/0: asks for a browser in place of sending the file (202)" in str(outcome)


def test_addresses_are_those_of_the_services(tmp_path):
    where = tokens()
    assert where.s3.format(region=".us-east-2") == "https://s3.us-east-2.amazonaws.com"
    for name in ("osf", "s3", "figshare", "huggingface"):
        assert getattr(where, name).startswith("https://")
