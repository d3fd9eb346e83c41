"""Archives are unpacked once, inside their folder, or refused."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from fakes.server import Server
from tiny_dataset import (
    BIG,
    FILES,
    contents,
    getter,
    sha_of,
    sourced,
)

from neurovis.errors import NeurovisError
from neurovis.store import sha256


@pytest.fixture
def server():
    with Server(FILES) as running:
        yield running


@pytest.fixture
def get(tmp_path, server):
    return getter(tmp_path, server)


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
