"""A server on this machine that lists and serves files as OSF, S3, Figshare and Hugging Face do, badly if told.

Shapes: OSF JSON:API pages with folders to follow, S3 ListObjectsV2 XML with continuation tokens, Figshare's
list per article, the Hub's tree with a Link header and git/LFS checksums; downloads redirect as theirs do.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from neurovis.fetch import Where

WRONG = b"\xff"


class Server:
    """Serve `files` until the block ends.

    Parameters
    ----------
    files : dict of bytes
        By path; a path may be one that no honest server would list.
    page : int
        Items per page of a listing.

    Attributes
    ----------
    faults : dict of list
        By path: what goes wrong at each request for it, one after the other. ``"drop"`` closes the
        connection in the middle, ``"truncate"`` sends and declares half, ``"wrong"`` other bytes,
        ``"ignore range"`` the whole file, ``"other range"`` another part, ``"stale part"`` the rest of
        another version whatever was asked, ``"html"`` a web page, ``"slow"`` a little at a time, ``"no version"`` neither ETag
        nor date, ``"unsized"`` no length, ``"new version"`` from then on other bytes; a number answers
        with that status, a pair with headers too; text with ``://`` redirects there.
    always : dict
        By path: what goes wrong at every request.
    asked : list of (str, str, dict)
        Method, path and headers of every request.
    """

    def __init__(self, files: dict[str, bytes] | None = None, page: int = 2):
        self.files = dict(files or {})
        self.page = page
        self.faults: dict[str, list] = {}
        self.always: dict[str, object] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.region = ""
        self.knows_pages = True
        self.sums = True
        self.listing_faults: list = []
        self.link_only: set[str] = set()
        self.challenge = False
        self.packs_lists = False
        self.instead: bytes | None = None
        self.release = threading.Event()

    def __enter__(self) -> Server:
        server = self

        class Handler(_Handler):
            fake = server

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._http.shutdown()
        self._http.server_close()

    def where(self, **changes: object) -> Where:
        """Addresses of the services here, and little patience."""
        options = {
            "osf": f"{self.url}/osf",
            "s3": f"{self.url}/s3{{region}}",
            "figshare": f"{self.url}/figshare",
            "huggingface": f"{self.url}/hf",
            "timeout": 5.0,
            "attempts": 3,
            "pause": 0.01,
            "patience": 2.0,
        }
        return Where(**{**options, **changes})

    def gets(self, path: str) -> int:
        """How often the bytes of a file were asked for."""
        return sum(m == "GET" and unquote(p) == f"/files/{path}" for m, p, _ in self.asked)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed or give up close their connection: that is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    fake: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two packets: no 40 ms between them

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.fake.asked.append((self.command, self.path, dict(self.headers)))
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        kind, _, rest = path.lstrip("/").partition("/")
        if kind == "files":
            return self._file(rest)
        lists = kind == "osf" or rest.startswith("articles/") or "list-type" in query
        if lists or "/tree/" in path:
            if self.fake.listing_faults:
                fault = self.fake.listing_faults.pop(0)
                if fault == "drop":
                    return self._send(200, b"{" * 1000, stop=10)
                status, headers = fault if isinstance(fault, tuple) else (fault, {})
                return self._send(status, b"", headers)
            if self.fake.instead is not None:
                return self._send(200, self.fake.instead)
        if kind == "osf":
            return self._osf(rest, query)
        if kind.startswith("s3"):
            return self._s3(kind, rest, query)
        if kind == "ndownloader" and self.fake.challenge:
            return self._send(202, b"", {"x-amzn-waf-action": "challenge"})
        if kind == "ndownloader" or rest.startswith("file/download/"):
            chosen = list(self.fake.files)[int(path.rpartition("/")[2])]
            return self._send(302, b"", {"Location": f"{self.fake.url}/files/{quote(chosen)}"})
        if kind == "figshare":
            return self._figshare(query)
        if kind == "hf":
            return self._hub(rest, query)
        return self._send(404, b"not here")

    # ---- listings

    def _osf(self, rest: str, query: dict[str, str]) -> None:
        folder = re.fullmatch(r"nodes/(\w+)/files/osfstorage/(.*?)/?", rest)
        if folder is None or folder.group(1) != "abcde":
            return self._json({"errors": [{"detail": "Not found."}]}, 404)
        base = f"{self.fake.url}/osf/nodes/abcde/files/osfstorage"
        inside = bytes.fromhex(folder.group(2)).decode() + "/" if folder.group(2) else ""
        items, folders = [], set()
        for path, data in self.fake.files.items():
            if not path.startswith(inside):
                continue
            name, deeper, _ = path[len(inside) :].partition("/")
            if deeper and ".." not in path:
                folders.add(name)
                continue
            hashes = {"md5": md5(data), "sha256": hashlib.sha256(data).hexdigest()}
            about = {
                "name": path.rpartition("/")[2], "kind": "file", "size": len(data),
                "materialized_path": f"/{path}", "provider": "osfstorage",
                "extra": {"hashes": hashes if self.fake.sums else {"md5": None, "sha256": None}},
            }  # fmt: skip
            link = f"{self.fake.url}/files/{quote(path)}"
            items.append({"attributes": about, "links": {"download": link}, "type": "files"})
        for name in sorted(folders):
            about = {"name": name, "kind": "folder", "materialized_path": f"/{inside}{name}/"}
            about |= {"size": None, "extra": {"hashes": {"md5": None, "sha256": None}}}
            href = f"{base}/{(inside + name).encode().hex()}/"
            related = {"files": {"links": {"related": {"href": href, "meta": {}}}}}
            items.append({"attributes": about, "relationships": related, "links": {}})
        page = int(query.get("page", 1))
        start, end = (page - 1) * self.fake.page, page * self.fake.page
        here = f"{self.fake.url}{urlsplit(self.path).path}?page={page + 1}"
        onward = here if end < len(items) else None
        self._json({"data": items[start:end], "links": {"next": onward, "prev": None}})

    def _s3(self, kind: str, rest: str, query: dict[str, str]) -> None:
        bucket, _, key = rest.partition("/")
        region = kind.removeprefix("s3").removeprefix(".")
        if bucket != "bucket.org":
            return self._send(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        if region != self.fake.region:
            headers = {"x-amz-bucket-region": self.fake.region}
            return self._send(301, b"<Error><Code>PermanentRedirect</Code></Error>", headers)
        if key:
            return self._file(key.removeprefix("ds1/"), s3=True)
        keys = [f"ds1/{path}" for path in self.fake.files] + ["ds1/", "ds2/other.txt"]
        keys = sorted(k for k in keys if k.startswith(query.get("prefix", "")))
        start = int(query.get("continuation-token", "n0")[1:])
        chosen, rest_of = keys[start : start + self.fake.page], keys[start + self.fake.page :]
        text = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult '
        text += 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket.org</Name>'
        text += f"<IsTruncated>{str(bool(rest_of)).lower()}</IsTruncated>"
        if rest_of:
            text += f"<NextContinuationToken>n{start + self.fake.page}</NextContinuationToken>"
        for name in chosen:
            data = self.fake.files.get(name.removeprefix("ds1/"), b"")
            etag = md5(data) if self.fake.sums else f"{md5(data)}-2"
            text += f"<Contents><Key>{escape(name)}</Key><ETag>&quot;{etag}&quot;</ETag>"
            text += f"<Size>{len(data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        self._send(
            200, (text + "</ListBucketResult>").encode(), {"Content-Type": "application/xml"}
        )

    def _figshare(self, query: dict[str, str]) -> None:
        page, size = int(query.get("page", 1)), int(query.get("page_size", 10))
        items = [
            {
                "id": number, "name": path, "size": len(data), "supplied_md5": "",
                "computed_md5": md5(data) if self.fake.sums else "",
                "is_link_only": path in self.fake.link_only,
                "download_url": f"{self.fake.url}/ndownloader/{number}",
            }
            for number, (path, data) in enumerate(self.fake.files.items())
        ]  # fmt: skip
        if self.fake.knows_pages:
            size = min(size, self.fake.page)
            items = items[(page - 1) * size : page * size]
        self._json(items)

    def _hub(self, rest: str, query: dict[str, str]) -> None:
        found = re.fullmatch(r"datasets/lab/set/resolve/(\w+)/(.*)", rest)
        if found:
            return self._send(302, b"", {"Location": f"/files/{quote(found.group(2))}"})
        if not re.fullmatch(r"api/datasets/lab/set/tree/\w+", rest):
            return self._json({"error": "Repository not found"}, 401)
        items: list[dict] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "sub-01"}]
        for path, data in self.fake.files.items():
            git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            item = {"type": "file", "oid": git, "size": len(data), "path": path}
            if path.endswith(".npy"):
                digest = hashlib.sha256(data).hexdigest()
                item |= {"oid": "1" * 40}
                item["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 133}
            items.append(item)
        start = int(query.get("cursor", 0))
        end = start + self.fake.page
        link = f"<{self.fake.url}{urlsplit(self.path).path}?recursive=true&cursor={end}>"
        headers = {"Link": f'{link}; rel="next"'} if end < len(items) else {}
        self._json(items[start:end], headers=headers)

    # ---- files

    def _file(self, path: str, s3: bool = False) -> None:
        fake = self.fake
        fault = fake.always.get(path)
        if fault is None and fake.faults.get(path) and self.command == "GET":
            fault = fake.faults[path].pop(0)
        if path not in fake.files:
            return self._send(404, b"gone")
        if fault in ("new version", "stale part"):
            fake.files[path] = bytes(b ^ 0x55 for b in fake.files[path])
        data = fake.files[path]
        if isinstance(fault, str) and "://" in fault:
            return self._send(302, b"", {"Location": fault})
        if isinstance(fault, int):
            return self._send(fault, b"")
        if isinstance(fault, tuple):
            return self._send(fault[0], b"", fault[1])
        if fault == "html":
            return self._send(
                200, b"<html>Sign in</html>", {"Content-Type": "text/html; charset=x"}
            )
        if fault == "truncate":
            data = data[: len(data) // 2]
        if fault == "wrong":
            data = WRONG * len(data)
        etag = f'"{md5(data)}"'
        headers = {"ETag": etag} if fault != "no version" else {}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", etag) == etag or fault == "stale part"
        if wanted and same and fault != "ignore range":
            start = int(wanted.group(1))
            if start >= len(data):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            start = 0 if fault == "other range" else start
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[start:], headers, fault)
        self._send(200, data, headers, fault)

    # ---- sending

    def _json(self, data: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body, headers = (
            json.dumps(data).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )
        if self.fake.packs_lists:
            body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
        self._send(status, body, headers)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        fault: object = None,
        stop: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if fault == "unsized":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "drop":
            stop = len(body) // 2
        try:
            if fault == "slow":
                for n in range(0, len(body), 1 << 16):
                    self.wfile.write(body[n : n + (1 << 16)])
                    self.fake.release.wait(0.05)
            else:
                self.wfile.write(body if stop is None else body[:stop])
            self.wfile.flush()
        except OSError:
            self.close_connection = True
        if stop is not None:
            self.close_connection = True


def wait_until(true, seconds: float = 20.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)
