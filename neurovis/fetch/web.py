"""Asking servers, carefully: redirects, patience, limits, and one sentence for what went wrong.

Comes in: an address. Goes out: an answer, or one of three ends: it is not there (`Dead`), it cannot be
reached now (`Offline`), the user stopped (`Stopped`). ``requests`` is used rather than ``urllib``: it is
here already (pooch needs it), keeps connections open over thousands of small files, and knows proxies.
Redirects are followed by hand, as it would follow them from https to http. Tokens go to the host they
are for, never on to where it redirects, and nothing of a query string is ever shown.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

import pydantic

from neurovis import __version__
from neurovis.config import Config
from neurovis.errors import NeurovisError

LARGEST = 64 << 20
"""Bytes of a page of a listing beyond which something is wrong."""


class Where(Config):
    """Addresses of the services, and how patient to be with them.

    Parameters
    ----------
    osf, s3, figshare, huggingface : str
        Their programming interfaces; ``{region}`` of s3 is empty or such as ``.us-east-2``.
    timeout : float
        s without a byte after which a connection counts as lost.
    attempts : int
        Without a byte of progress between them.
    pause : float
        s before the second attempt, doubled for each further one.
    patience : float
        Longest wait in s that a server may ask for.
    tokens : dict of str
        Access tokens by kind of service; they raise the limits of requests and open gated data.
    """

    osf: str = "https://api.osf.io/v2"
    s3: str = "https://s3{region}.amazonaws.com"
    figshare: str = "https://api.figshare.com/v2"
    huggingface: str = "https://huggingface.co"
    timeout: float = pydantic.Field(60.0, gt=0)
    attempts: int = pydantic.Field(6, ge=1)
    pause: float = pydantic.Field(1.0, ge=0)
    patience: float = pydantic.Field(300.0, ge=0)
    tokens: dict[str, pydantic.SecretStr] = pydantic.Field(default_factory=dict)


def tokens() -> Where:
    """The services with the user's own access tokens, from ``OSF_TOKEN`` and ``HF_TOKEN``."""
    named = {"osf": "OSF_TOKEN", "huggingface": "HF_TOKEN"}
    found = {kind: os.environ[name] for kind, name in named.items() if os.environ.get(name)}
    return Where(tokens={kind: pydantic.SecretStr(token) for kind, token in found.items()})


class Dead(NeurovisError):
    """It is not there, or not for us: another attempt would say the same."""


class Offline(NeurovisError):
    """It cannot be reached now; what was fetched is kept."""


class Stopped(Exception):
    """The user stopped; unfinished files stay to be resumed."""


class Busy(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


def shown(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def is_local(url: str) -> bool:
    """Whether an address is http on this machine, as in tests."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")


def check_address(url: str, before: str | None = None, local: bool = True) -> str:
    """Refuse an address that is not https.

    Parameters
    ----------
    url : str
    before : str, optional
        The address that redirected here.
    local : bool
        Take http on this machine, where the service that is asked is here itself: nothing from outside
        may send us to what else listens here.

    Raises
    ------
    Dead
        Naming both.
    """
    if urlsplit(url).scheme == "https" or (local and is_local(url)):
        return url
    came = f"{shown(before)} redirects to {shown(url)}" if before else shown(url)
    raise Dead(f"{came}: expected an https address; report it, or give another --source.")


class Web:
    """Sessions with servers, one per thread.

    Parameters
    ----------
    where : Where
    stop : threading.Event, optional
        Set when the user stops.
    others : sequence of str
        Further addresses that a manifest names.
    """

    def __init__(
        self,
        where: Where | None = None,
        stop: threading.Event | None = None,
        others: Sequence[str] = (),
    ):
        self.where = where or Where()
        self.stop = stop or threading.Event()
        self._local = threading.local()
        services = (self.where.osf, self.where.s3, self.where.figshare, self.where.huggingface)
        self._here = any(map(is_local, (*(s.partition("{")[0] for s in services), *others)))
        hosts = {kind: getattr(self.where, kind) for kind in self.where.tokens}
        self._tokens = {urlsplit(hosts[kind]).netloc: t for kind, t in self.where.tokens.items()}

    def _session(self) -> Any:
        if not hasattr(self._local, "session"):
            import requests

            session = requests.Session()
            session.headers["User-Agent"] = f"neurovis/{__version__}"
            # no names and passwords from a .netrc: what is fetched here is public
            session.auth = lambda request: request
            self._local.session = session
        return self._local.session

    def once(self, url: str, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
        """One attempt: the answer of whoever the redirects end at, body not read yet.

        Returns
        -------
        requests.Response
            Of status 200, 206, 416, or a redirect that leads nowhere.

        Raises
        ------
        Busy, Dead
        """
        import requests

        address = check_address(url, local=self._here)
        for _ in range(10):
            given = {"Accept-Encoding": "identity", **(headers or {})}
            token = self._tokens.get(urlsplit(address).netloc)
            if token is not None:
                given["Authorization"] = f"Bearer {token.get_secret_value()}"
            try:
                answer = self._session().request(
                    method,
                    address,
                    headers=given,
                    stream=True,
                    allow_redirects=False,
                    timeout=(min(20.0, self.where.timeout), self.where.timeout),
                    # a proxy for the world outside is none for this machine
                    proxies={"no_proxy": urlsplit(address).hostname} if is_local(address) else None,
                )
            except requests.exceptions.RequestException as error:
                raise Busy(_why(error)) from None
            if answer.status_code not in (301, 302, 303, 307, 308):
                return self._judged(url, answer)
            onward = answer.headers.get("Location")
            if not onward:
                return answer
            answer.close()
            local = self._here and is_local(address)
            address = check_address(urljoin(address, onward), address, local)
        raise Dead(f"{shown(url)}: redirects in a circle; report it, or give another --source.")

    def _judged(self, url: str, answer: Any) -> Any:
        code = answer.status_code
        if code in (200, 206, 416):
            return answer
        answer.close()
        if code in (408, 425, 429) or code >= 500:
            raise Busy(f"answers {code} {answer.reason}", _retry_after(answer))
        if code in (401, 403):
            need = "it is private, or needs an access token (OSF_TOKEN, HF_TOKEN) or permission"
            raise Dead(f"{shown(url)}: refused ({code}); {need} from its owners.")
        if code == 202:
            raise Dead(f"{shown(url)}: asks for a browser in place of sending the file (202).")
        gone = "is not there any more" if code in (404, 410) else f"answers {code} {answer.reason}"
        raise Dead(f"{shown(url)}: {gone}; its owners moved or removed it.")

    def read(self, url: str, headers: dict[str, str] | None = None) -> tuple[bytes, Any]:
        """A page of a listing whole, with patience.

        Returns
        -------
        bytes
        requests.Response

        Raises
        ------
        Dead, Offline, Stopped
        """
        for tries in range(1, self.where.attempts + 1):
            try:
                with contextlib.closing(self.once(url, headers)) as answer:
                    body = b"".join(self.chunks(answer, url, LARGEST))
                    length = answer.headers.get("Content-Length", "")
                    if length.isdigit() and int(length) != len(body):
                        raise Busy("the connection was lost")
                    if answer.headers.get("Content-Encoding") == "gzip":  # asked for or not
                        body = zlib.decompressobj(31).decompress(body, LARGEST)
                    return body, answer
            except zlib.error:
                raise Dead(
                    f"{shown(url)}: its list of files is damaged; try again later."
                ) from None
            except Busy as busy:
                self.wait(url, tries, busy)
        raise Offline(f"{shown(url)}: no attempt was made.")

    def chunks(self, answer: Any, url: str, largest: int | None = None) -> Iterator[bytes]:
        """Bytes of a body as they come, exactly as they are stored there.

        Raises
        ------
        Busy
            If the connection is lost.
        Stopped
        """
        import requests
        import urllib3

        total = 0
        try:
            for chunk in answer.raw.stream(1 << 18, decode_content=False):
                if self.stop.is_set():
                    raise Stopped
                total += len(chunk)
                if largest is not None and total > largest:
                    raise Dead(f"{shown(url)}: more than {largest >> 20} MB for a list of files.")
                yield chunk
        except (urllib3.exceptions.HTTPError, requests.exceptions.RequestException, OSError) as e:
            raise Busy(_why(e)) from None

    def json(self, url: str) -> tuple[Any, Any]:
        """A page of a listing as JSON, with its answer."""
        body, answer = self.read(url, {"Accept": "application/json"})
        try:
            return json.loads(body), answer
        except (ValueError, RecursionError):
            raise Dead(
                f"{shown(url)}: expected JSON, found something else (a web page?); the service has "
                "changed or a proxy stands between."
            ) from None

    def wait(self, url: str, tries: int, busy: Busy) -> None:
        """Pause before the next attempt, as long as asked to or twice the last one.

        Raises
        ------
        Offline
            If that was the last attempt, or the wait asked for is too long.
        Stopped
        """
        if busy.wait is not None and busy.wait > self.where.patience:
            minutes = max(1, round(busy.wait / 60))
            raise Offline(
                f"{shown(url)}: {busy} and asks to wait {minutes} min (its limit of requests); run the "
                "same command again after that, it goes on from here."
            )
        if tries >= self.where.attempts:
            raise Offline(
                f"{shown(url)}: {busy} ({tries} attempts); check the connection and run the same "
                "command again, it goes on from here."
            )
        pause = self.where.pause * 2 ** (tries - 1) if busy.wait is None else busy.wait
        if self.stop.wait(min(pause, max(60.0, busy.wait or 0))):
            raise Stopped


def _retry_after(answer: Any) -> float | None:
    """Seconds that a server asks to wait: a number, or a date."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _why(error: BaseException) -> str:
    text = f"{type(error).__name__} {error}"
    for sign, words in (
        ("NameResolution", "its name is not known here (offline?)"),
        ("getaddrinfo", "its name is not known here (offline?)"),
        ("Timeout", "does not answer"),
        ("timed out", "does not answer"),
        ("SSL", "its certificate is not trusted"),
        ("Proxy", "the proxy refuses"),
        ("refused", "refuses the connection"),
    ):
        if sign in text:
            return words
    return "the connection was lost"
