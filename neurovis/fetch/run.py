"""``neurovis fetch``: list, plan, check terms and space, download with a few connections, unpack, sum up.

Comes in: the name of a dataset and a root. Goes out: its files there, whole, and an `Outcome`. Threads
download, this one alone shows progress; a file that fails leaves the rest going. Ctrl-C leaves ``.part``
files, and the same command goes on from there.
"""

from __future__ import annotations

import contextlib
import queue
import shlex
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neurovis.errors import NeurovisError, UsageError
from neurovis.fetch.download import download, part_of
from neurovis.fetch.look import look
from neurovis.fetch.plan import Item, Plan, ask, check_terms, chosen, plan
from neurovis.fetch.state import Digest, State
from neurovis.fetch.unpack import unpack
from neurovis.fetch.web import Offline, Stopped, Web, Where
from neurovis.manifest import Manifest, Source, read_manifest
from neurovis.progress import progress, say
from neurovis.store import DiskFull

LOST = 3
"""Files in a row that cannot be reached after which the others are not tried."""
TICK = 1_000_000
"""Bytes of one step of the progress bar."""


def amount(n: float) -> str:
    """Bytes as people write them.

    Examples
    --------
    >>> amount(126_400_000_000)
    '126 GB'
    >>> amount(1_230)
    '1.2 kB'
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n < 999.5 or unit == "TB":
            return f"{n:.0f} {unit}" if unit == "B" or n >= 99.5 else f"{n:.1f} {unit}"
        n /= 1000
    return ""


@dataclass
class Outcome:
    """What a fetch did.

    Parameters
    ----------
    dataset : str
    whole : int
        Files that are whole now.
    fetched : int
        Of these, how many came now.
    size : int
        Bytes that came now.
    todo : list of str
        Paths still to be fetched, for a dry run.
    need : int
        Bytes that those need.
    notes : list of str
    """

    dataset: str
    whole: int = 0
    fetched: int = 0
    size: int = 0
    todo: list[str] = field(default_factory=list)
    need: int = 0
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """A line, and the notes."""
        if self.todo:
            lines = [f"{self.dataset}: would fetch {len(self.todo)} files, {amount(self.need)}"]
            lines[0] += f" ({self.whole} are whole)" if self.whole else ""
            lines += self.todo[:20]
            lines += [f"and {len(self.todo) - 20} more"] if len(self.todo) > 20 else []
        else:
            came = (
                f"{self.fetched} fetched, {amount(self.size)}" if self.fetched else "none fetched"
            )
            lines = [f"{self.dataset}: {self.whole} files are whole ({came})."]
        lines += [f"note: {note}" for note in self.notes[:5]]
        lines += [f"and {len(self.notes) - 5} more notes"] if len(self.notes) > 5 else []
        return "\n".join(lines)


def fetch(
    name: str,
    root: str | Path,
    source: Sequence[str] = (),
    subject: Sequence[str] = (),
    include: Sequence[str] = (),
    accept: Sequence[str] = (),
    dry_run: bool = False,
    relist: bool = False,
    n_jobs: int = 4,
    quiet: bool = False,
    folder: str | Path | None = None,
    where: Where | None = None,
) -> Outcome:
    """Download what a manifest names; resume, verify, never refetch what is whole.

    Parameters
    ----------
    name : str
        Of the dataset.
    root : path
        Where its files go; made where it is missing.
    source : sequence of str
        Only these; by default all that are not optional.
    subject : sequence of str
        Only their files, and those that all subjects share.
    include : sequence of str
        Only paths of these patterns.
    accept : sequence of str
        Flags of terms that the user has read and accepts.
    dry_run : bool
        List what would be fetched; download nothing.
    relist : bool
        Ask the owners' servers for their lists anew.
    n_jobs : int
        Files at a time.
    quiet : bool
    folder : path, optional
        Of the manifests.
    where : Where, optional
        Addresses of the services.

    Returns
    -------
    Outcome

    Raises
    ------
    NeurovisError
        If something is missing in the end; what came is kept.
    """
    manifest = read_manifest(name, folder)
    root = Path(root)
    sources = chosen(manifest, source)
    if not sources:
        raise UsageError(
            f"{manifest.name}: its manifest names no source, as it reads anyone's recordings; "
            f"expected a dataset with sources, see: neurovis list datasets."
        )
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root}: expected a folder, found a file; give another --root.")
    stop = threading.Event()
    web = Web(where, stop, [s.where for s in sources if s.kind == "http"])
    state = State(root, manifest.name)
    people = plan(manifest, (), state).people
    subjects = people.choose(subject)
    try:
        if not dry_run:
            check_terms(manifest, accept, state)
        with state.alone():
            return _fetch(
                manifest, sources, subjects, include, state, web, dry_run, relist, n_jobs, quiet
            )
    finally:
        stop.set()


def _fetch(
    manifest: Manifest,
    sources: Sequence[Source],
    subjects: Sequence[str],
    include: Sequence[str],
    state: State,
    web: Web,
    dry_run: bool,
    relist: bool,
    n_jobs: int,
    quiet: bool,
) -> Outcome:
    unlisted = ask(manifest, sources, subjects, state, web, relist, quiet)
    made = plan(manifest, sources, state, subjects, include)
    made.unlisted = unlisted
    if not made.items:
        if unlisted:
            raise _first(unlisted)
        asked = " ".join(
            [*(f"--subject {s}" for s in subjects), *(f"--include {i}" for i in include)]
        )
        raise NeurovisError(
            f"{manifest.name}: none of its owners' files match {asked or 'its manifest'}; "
            "see what there is with --dry-run and fewer options."
        )
    outcome = Outcome(manifest.name)
    todo = _missing(made, state, outcome, quiet)
    need = sum(_left(item, state) for item in todo)
    extra = sum(item.size or 0 for item in made.items if item.unpack and _packed(item, state))
    if dry_run:
        outcome.todo, outcome.need = [item.path for item in todo], need
        outcome.notes += [str(error) for error in unlisted.values()]
        return outcome
    _check_space(manifest.name, state.root, todo, need, need + extra, quiet)
    failed = _download(todo, need, state, web, n_jobs, outcome, quiet)
    failed |= _unpack(made.items, failed, state, web, quiet)
    outcome.whole = len(made.items) - len(failed)
    failed |= made.gone
    everything = not include and set(chosen(manifest, ())) <= set(sources)
    _sum_up(manifest, made, failed, outcome, state.root, subjects if everything else None)
    return outcome


def _first(errors: dict[str, NeurovisError]) -> NeurovisError:
    name, error = next(iter(errors.items()))
    return type(error)(f"source {name!r}: {error}")


def _missing(made: Plan, state: State, outcome: Outcome, quiet: bool) -> list[Item]:
    """Files to fetch; those whose size is right and that nobody read yet are read now."""
    unread = [i for i in made.items if state.verdict(i.path, i.remotes[0]) == "unread"]
    bad = set()
    if unread:
        total = sum(item.size or 0 for item in unread)
        for _ in progress(
            _read(unread, state, bad), "verify", -(-total // TICK), quiet=quiet, unit="MB"
        ):
            pass
    good = ("whole", "unread")
    todo = [
        item
        for item in made.items
        if item.path in bad or state.verdict(item.path, item.remotes[0]) not in good
    ]
    outcome.whole = len(made.items) - len(todo)
    return todo


def _read(items: Sequence[Item], state: State, bad: set[str]) -> Iterator[None]:
    for item in items:
        digest = Digest(item.remotes[0])
        done = 0
        with (state.root / item.path).open("rb") as handle:
            while block := handle.read(TICK):
                digest.update(block)
                done += 1
                yield
        if digest.wrong():
            bad.add(item.path)
        else:
            state.finish(item.path, digest)


def _packed(item: Item, state: State) -> bool:
    entry = state.whole.get(item.path)
    return entry is None or entry.members is None


def _left(item: Item, state: State) -> int:
    part = part_of(state.root / item.path)
    there = part.stat().st_size if part.is_file() else 0
    return max(0, (item.size or 0) - there)


def _check_space(
    name: str, root: Path, todo: Sequence[Item], need: int, space: int, quiet: bool
) -> None:
    """Say how much is to come, and refuse what cannot fit."""
    there = next(place for place in (root.absolute(), *root.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if todo:
        unknown = sum(item.size is None for item in todo)
        more = f" and {unknown} files of unknown size" if unknown else ""
        unpacked = f" ({amount(space)} with what is unpacked)" if space > need else ""
        say(
            f"{name}: {len(todo)} files to fetch, {amount(need)}{more}{unpacked}; {amount(free)} free "
            f"under {root}",
            quiet,
        )
    if space > free:
        raise NeurovisError(
            f"{root}: {amount(space)} needed, {amount(free)} free; make room, give another --root, or "
            "fetch less with --subject, --source or --include."
        )


def _download(
    todo: Sequence[Item],
    need: int,
    state: State,
    web: Web,
    n_jobs: int,
    outcome: Outcome,
    quiet: bool,
) -> dict[str, NeurovisError]:
    """Download with several threads; give what failed, by path."""
    failed: dict[str, NeurovisError] = {}
    if not todo:
        return failed
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    events: queue.SimpleQueue[tuple] = queue.SimpleQueue()
    for item in todo:
        waiting.put(item)
    for _ in range(max(1, min(n_jobs, len(todo)))):
        threading.Thread(target=_work, args=(waiting, events, state, web), daemon=True).start()
    steps = _follow(len(todo), events, waiting, failed, outcome)
    for _ in progress(steps, "fetch", max(1, -(-need // TICK)), quiet=quiet, unit="MB"):
        pass
    return failed


def _work(waiting: queue.SimpleQueue, events: queue.SimpleQueue, state: State, web: Web) -> None:
    """One thread: files until there are no more."""
    while not web.stop.is_set():
        try:
            item = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            note = download(item.path, item.remotes, state, web, lambda n: events.put(("bytes", n)))
            events.put(("done", item, note))
        except Stopped:
            return
        except Exception as error:  # whatever it is, the thread that shows progress must hear of it
            events.put(("failed", item, error))


def _follow(
    count: int,
    events: queue.SimpleQueue,
    waiting: queue.SimpleQueue,
    failed: dict[str, NeurovisError],
    outcome: Outcome,
) -> Iterator[None]:
    """Steps of the progress bar, one per million bytes that are of use."""
    shown = lost = settled = 0
    while settled < count:
        what, *about = events.get()
        if what == "bytes":
            outcome.size += about[0]
            while outcome.size >= (shown + 1) * TICK:
                shown += 1
                yield
            continue
        settled += 1
        item, said = about
        if what == "done":
            outcome.fetched += 1
            outcome.notes += [said] if said else []
            lost = 0
            continue
        if not isinstance(said, NeurovisError) or isinstance(said, DiskFull):
            raise said
        failed[item.path] = said
        lost = lost + 1 if isinstance(said, Offline) else 0
        if lost == LOST:
            # the connection is gone: do not wait for each of the others in turn
            with contextlib.suppress(queue.Empty):
                while True:
                    failed[waiting.get_nowait().path] = said
                    settled += 1
    yield


def _unpack(
    items: Sequence[Item],
    failed: dict[str, NeurovisError],
    state: State,
    web: Web,
    quiet: bool,
) -> dict[str, NeurovisError]:
    """Unpack archives that are whole, then delete them."""
    wrong: dict[str, NeurovisError] = {}
    for item in items:
        if not item.unpack or item.path in failed or not _packed(item, state):
            continue
        try:
            members = unpack(state.root, item.path, item.unpack, web.stop, quiet)
        except DiskFull:
            raise
        except NeurovisError as error:
            wrong[item.path] = error
            continue
        state.unpacked(item.path, members)
        if item.path not in {name for name, _ in members}:
            (state.root / item.path).unlink()
    return wrong


def _sum_up(
    manifest: Manifest,
    made: Plan,
    failed: dict[str, NeurovisError],
    outcome: Outcome,
    root: Path,
    subjects: Sequence[str] | None,
) -> None:
    """Raise one sentence for what is missing; note what a reader misses though all came."""
    reasons = list(dict.fromkeys(str(error) for error in failed.values()))
    if failed:
        count = len(made.items) + len(made.gone)
        more = f" (and {len(reasons) - 2} more reasons)" if len(reasons) > 2 else ""
        raise NeurovisError(
            f"{manifest.name}: {len(failed)} of {count} files are missing, the others are kept "
            f"({outcome.fetched} fetched now): {' '.join(reasons[:2])}{more} See: neurovis doctor "
            f"{manifest.name} --root {shlex.quote(str(root))}"
        )
    found = look(manifest, root, subjects or ())
    if made.unlisted and not found.good:
        raise _first(made.unlisted)
    outcome.notes += [f"source {name!r}: {error}" for name, error in made.unlisted.items()]
    missing = [path for share in found.shares for path in share.missing]
    if missing and subjects is not None:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        outcome.notes.append(
            f"all that its owners list came, but the reader also expects {', '.join(missing[:3])}{more}"
        )
