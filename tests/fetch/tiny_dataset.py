"""A dataset 'tiny' for tests of fetching: its files, its manifest, and how it is fetched."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from conftest import ROOT
from fakes.server import Server

from neurovis.fetch import fetch

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


def getter(folder: Path, server: Server):
    """What fetches 'tiny' of `folder`/manifests into `folder`/root."""

    def call(**options):
        options = {"quiet": True, "where": server.where(), **options}
        return fetch("tiny", folder / "root", folder=folder / "manifests", **options)

    return call


def sha_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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
