"""What files a source has, from its owners' own list: paths, sizes, checksums, addresses.

Comes in: a `Source` of a manifest. Goes out: one `Remote` per file. OSF, Figshare and Hugging Face answer
JSON in pages, S3 answers XML; an ``http`` source has what its manifest names. Sizes and checksums are
taken from here at the time of fetching, so that no manifest has to repeat them. A list is not trusted: a
path that leaves the root, or an answer of another shape, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pydantic

from neurovis.config import Config
from neurovis.errors import NeurovisError
from neurovis.fetch.patterns import heads, reaches
from neurovis.fetch.web import Busy, Dead, Web, check_address, shown
from neurovis.manifest import Digest256, DigestMd5, File, Size, Source, inside


class Remote(Config):
    """One file at its owners'.

    Parameters
    ----------
    path : str
        There; under the source's folder here.
    url : str
    size : int, optional
        Bytes.
    sha256, md5, git : str, optional
        Checksums; ``git`` is that of a git blob.
    also : str
        A second address of the same service.
    """

    path: str
    url: str
    also: str = ""
    size: Size | None = None
    sha256: Digest256 | None = None
    md5: DigestMd5 | None = None
    git: str | None = pydantic.Field(None, pattern="^[0-9a-f]{40}$")

    @pydantic.field_validator("path")
    @classmethod
    def _stay_under_root(cls, value: str) -> str:
        return inside(value, "list of files")

    @pydantic.field_validator("url", "also")
    @classmethod
    def _stay_safe(cls, value: str) -> str:
        return check_address(value) if value else value


def listing(source: Source, files: Sequence[File], web: Web, asked: Sequence[str]) -> list[Remote]:
    """List the files of a source.

    Parameters
    ----------
    source : Source
    files : sequence of File
        Those that the manifest names for an ``http`` source.
    web : Web
    asked : sequence of str
        Patterns; a service is asked only for what they can reach, and may give more.

    Returns
    -------
    list of Remote

    Raises
    ------
    NeurovisError
        If the source is not there, cannot be reached, or its list is not of the expected shape.
    """
    if source.kind == "http":
        found = _http(source, files, web)
    else:
        found = _KINDS[source.kind](source.where, web, asked)
    return sorted(_built(source, found), key=lambda remote: remote.path)


def _built(source: Source, found: Iterator[dict[str, Any]]) -> Iterator[Remote]:
    try:
        for fields in found:
            yield Remote(**fields)
    except (KeyError, TypeError, IndexError, AttributeError, pydantic.ValidationError) as error:
        inner = error.errors()[0] if isinstance(error, pydantic.ValidationError) else None
        said = inner.get("ctx", {}).get("error", inner["msg"]) if inner else repr(error)
        raise NeurovisError(
            f"source {source.name!r} ({source.kind} {source.where}): its list of files is not of the "
            f"expected shape ({said}); it is refused, update neurovis or report it."
        ) from None


def _osf(where: str, web: Web, asked: Sequence[str]) -> Iterator[dict[str, Any]]:
    todo = [f"{web.where.osf}/nodes/{where}/files/osfstorage/?page%5Bsize%5D=100"]
    seen = set()
    while todo:
        url = todo.pop()
        if url in seen:
            continue
        seen.add(url)
        page, _ = web.json(url)
        for item in page["data"]:
            about = item["attributes"]
            path = (about.get("materialized_path") or about["name"]).strip("/")
            if about["kind"] == "folder":
                # unauthenticated users may ask a hundred times an hour: no folder in vain
                if any(reaches(pattern, path) for pattern in asked):
                    inner = item["relationships"]["files"]["links"]["related"]["href"]
                    inner += "&" if "?" in inner else "?"
                    todo.append(f"{inner}page%5Bsize%5D=100")
                continue
            hashes = (about.get("extra") or {}).get("hashes") or {}
            yield {
                "path": path,
                "url": item["links"]["download"],
                "size": about.get("size"),
                "sha256": hashes.get("sha256"),
                "md5": hashes.get("md5"),
            }
        onward = page["links"].get("next")
        if onward:
            todo.append(onward)


def _figshare(where: str, web: Web, asked: Sequence[str]) -> Iterator[dict[str, Any]]:
    seen: set[int] = set()
    for number in range(1, 1000):
        url = f"{web.where.figshare}/articles/{where}/files?page={number}&page_size=1000"
        page, _ = web.json(url)
        # servers that know no pages repeat the first one
        new = [item for item in page if item["id"] not in seen]
        if not new:
            return
        for item in new:
            seen.add(item["id"])
            if item.get("is_link_only"):
                raise Dead(
                    f"figshare {where}: {item['name']!r} is only a link to elsewhere; "
                    "give another --source."
                )
            yield {
                "path": item["name"],
                "url": item["download_url"],
                # the first may ask for a browser, which the programming interface does not
                "also": f"{web.where.figshare}/file/download/{item['id']}",
                "size": item.get("size"),
                "md5": item.get("computed_md5") or item.get("supplied_md5") or None,
            }


def _huggingface(where: str, web: Web, asked: Sequence[str]) -> Iterator[dict[str, Any]]:
    name, _, revision = where.partition("@")
    revision = quote(revision or "main", safe="")
    base = web.where.huggingface
    url = f"{base}/api/datasets/{name}/tree/{revision}?recursive=true"
    seen = set()
    while url and url not in seen:
        seen.add(url)
        page, answer = web.json(url)
        for item in page:
            if item["type"] != "file":
                continue
            # a large file stands as a pointer: its own checksum is in `lfs`
            lfs = item.get("lfs") or {}
            yield {
                "path": item["path"],
                "url": f"{base}/datasets/{name}/resolve/{revision}/{quote(item['path'])}",
                "size": lfs.get("size", item.get("size")),
                "sha256": lfs.get("oid"),
                "git": None if lfs else item.get("oid"),
            }
        url = answer.links.get("next", {}).get("url")


def _s3(where: str, web: Web, asked: Sequence[str]) -> Iterator[dict[str, Any]]:
    bucket, _, prefix = where.partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    region = ""
    for beginning in heads(asked):
        token = None
        while True:
            query = {"list-type": "2", "prefix": prefix + beginning}
            query |= {"continuation-token": token} if token else {}
            words = urlencode(query, quote_via=quote)
            base = web.where.s3.format(region=region) + "/" + bucket
            body, answer = web.read(f"{base}?{words}")
            if answer.status_code != 200:
                # the bucket is in another region than the one asked
                onward = answer.headers.get("x-amz-bucket-region", "")
                if region or not re.fullmatch(r"[a-z0-9-]+", onward):
                    raise Dead(f"{shown(base)}: expected a list of files, found a redirect.")
                region = f".{onward}"
                continue
            tree = _xml(body, base)
            for item in tree.iter("Contents"):
                key = item.findtext("Key", "")
                if key.endswith("/") or not key.startswith(prefix):
                    continue
                etag = item.findtext("ETag", "").strip('"')
                # of a file uploaded in parts it is no checksum of the whole
                yield {
                    "path": key[len(prefix) :],
                    "url": f"{base}/{quote(key)}",
                    "size": int(item.findtext("Size", "0")),
                    "md5": etag if re.fullmatch("[0-9a-f]{32}", etag) else None,
                }
            token = tree.findtext("NextContinuationToken")
            if tree.findtext("IsTruncated") != "true" or not token:
                break


def _xml(body: bytes, url: str) -> ElementTree.Element:
    """Parse XML that declares no entities: an innocent list of files has none."""
    try:
        text = body.decode("utf-8")
        if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
            raise Dead(f"{shown(url)}: its list of files declares entities; it is refused.")
        tree = ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeDecodeError):
        raise Dead(
            f"{shown(url)}: expected XML, found something else (a web page?); the service has changed "
            "or a proxy stands between."
        ) from None
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    return tree


def _http(source: Source, files: Sequence[File], web: Web) -> Iterator[dict[str, Any]]:
    for file in files:
        path = file.path.removeprefix(f"{source.into}/") if source.into else file.path
        url = source.where + quote(path)
        size = file.size if file.size is not None else _length(url, web)
        yield {"path": path, "url": url, "size": size, "sha256": file.sha256, "md5": file.md5}


def _length(url: str, web: Web) -> int | None:
    """Bytes of a file, by asking for its head alone."""
    for tries in range(1, web.where.attempts + 1):
        try:
            answer = web.once(url, method="HEAD")
        except Busy as busy:
            web.wait(url, tries, busy)
            continue
        answer.close()
        length = answer.headers.get("Content-Length", "")
        return int(length) if length.isdigit() and answer.status_code == 200 else None
    return None


_KINDS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "osf": _osf,
    "s3": _s3,
    "figshare": _figshare,
    "huggingface": _huggingface,
}
