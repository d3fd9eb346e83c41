"""From the owners' server to the reader: what a manifest includes is what its reader reads, and no less.

Each dataset's fake is put on a server, fetched with the manifest's own patterns into an empty folder, looked
at by the doctor and opened by the reader: the same recordings and the same stimuli as where it was written.
"""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from fakes.server import Server

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.fetch import fetch, look
from neurovis.fetch.patterns import fill
from neurovis.manifest import manifests, read_manifest

WRITTEN = {
    "alljoined": (("1", "2"), lambda fake, root: fake.write_osf(root)),
    "alljoined-1-6m": (("01",), lambda fake, root: fake.write_alljoined_1_6m(root, (1,), (1, 4))),
    "bold5000": (("CSI4",), lambda fake, root: fake.write_betas(root, "CSI4")),
    "god": (("1",), lambda fake, root: fake.write_table(root / "Subject1.h5", 1)),
    "miyawaki": ((), lambda fake, root: fake.write(root)),
    "nsd": (("01",), lambda fake, root: fake.write_nsd(root, pictures=True)),
    "things-eeg1": (("02",), lambda fake, root: fake.write_things_eeg1(root, ("02",))),
    "things-eeg2": (("01",), lambda fake, root: fake.write_things_eeg2(root, ("01",))),
    "things-fmri": (("01", "02"), lambda fake, root: fake.write_betas(root, (1, 2))),
    "things-meg": (("1",), lambda fake, root: fake.write_things_meg(root, ("1",))),
}
"""Subjects, and how the dataset's fake writes them."""
LEFT_TO_USERS = {"alljoined": {"nsd_expdesign.mat"}}
"""Files that another dataset's owners publish: the user puts them there."""


def test_every_dataset_with_sources_is_tried():
    assert {name for name in manifests() if read_manifest(name).sources} == set(WRITTEN)


def served(name: str, root: Path, folder: Path, subjects: tuple[str, ...]) -> dict[str, bytes]:
    """The manifest with its sources on the server here; the files there, in archives where theirs are."""
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    data = json.loads(manifests()[name].read_text(encoding="utf-8"))
    data["files"] = []
    data["unverified"] = [u for u in data.get("unverified", []) if not u.startswith("files")]
    for source in data["sources"]:
        into = source.get("into", "")
        source |= {"kind": "s3", "where": f"bucket.org/ds1/{into}".rstrip("/")}
        for path in fill(source.get("include", []), subjects):
            inner = f"{into}/{path}".lstrip("/").removesuffix(".zip") + "/"
            packed = {p: b for p, b in files.items() if p.startswith(inner)}
            if not path.endswith(".zip") or not packed or source.get("optional"):
                continue
            base = inner.rstrip("/").rpartition("/")[0] if source["unpack"] == "beside" else inner
            base = f"{base}/" if base and not base.endswith("/") else base
            box = io.BytesIO()
            with zipfile.ZipFile(box, "w") as archive:
                for member, content in packed.items():
                    archive.writestr(member.removeprefix(base), content)
            files = {p: b for p, b in files.items() if p not in packed}
            files[inner.rstrip("/") + ".zip"] = box.getvalue()
    (folder / f"{name}.json").write_text(json.dumps(data))
    return files


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_fetched_is_what_is_read(name, tmp_path):
    subjects, write = WRITTEN[name]
    reader = read_manifest(name).reader
    owners, here, folder = tmp_path / "owners", tmp_path / "here", tmp_path / "manifests"
    for place in (here, folder):
        place.mkdir()
    if name != "things-eeg1":
        owners.mkdir()
    write(importlib.import_module(f"fakes.{reader}"), owners)
    manifest = read_manifest(name)
    assert look(manifest, owners, subjects).good, "the fake lacks what the manifest expects"
    accept = [manifest.terms.flag] if manifest.terms else []
    with Server(served(name, owners, folder, subjects), page=1000) as server:
        fetch(
            name, here, folder=folder, subject=subjects, accept=accept, quiet=True,
            where=server.where(timeout=60.0),
        )  # fmt: skip
    for left in LEFT_TO_USERS.get(name, ()):
        (here / left).write_bytes((owners / left).read_bytes())
    assert look(manifest, here, subjects).good
    load_datasets()
    dataset = resolve(Dataset, reader)
    found, expected = dataset.recordings(here), dataset.recordings(owners)
    assert expected
    assert [(r.subject, r.name, r.file.relative_to(here)) for r in found] == [
        (r.subject, r.name, r.file.relative_to(owners)) for r in expected
    ]
    assert list(dataset.stimuli(here).image) == list(dataset.stimuli(owners).image)
