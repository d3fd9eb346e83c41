"""What to fetch: sources listed, patterns and subjects applied, mirrors joined, manifest's facts added.

Comes in: a manifest and what the user asked for. Goes out: one `Item` per file with all places that have
it, and what is missing of the lists themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from neurovis.errors import NeurovisError, UsageError
from neurovis.fetch.patterns import People, fill, matches
from neurovis.fetch.sources import Remote, listing
from neurovis.fetch.state import State
from neurovis.fetch.unpack import is_archive
from neurovis.fetch.web import Dead, Offline, Web
from neurovis.manifest import File, Manifest, Source
from neurovis.progress import say


@dataclass
class Item:
    """One file of a dataset and where it may be had, best first."""

    path: str
    remotes: list[Remote]
    source: str
    unpack: str = ""

    @property
    def size(self) -> int | None:
        """Bytes, where the owners say."""
        return self.remotes[0].size


@dataclass
class Plan:
    """Files to have, those that their owners do not list any more, sources without a list."""

    items: list[Item]
    people: People
    gone: dict[str, NeurovisError] = field(default_factory=dict)
    unlisted: dict[str, NeurovisError] = field(default_factory=dict)


def chosen(manifest: Manifest, names: Sequence[str]) -> list[Source]:
    """Sources by name, or all that are not optional.

    Raises
    ------
    UsageError
        If there is no such source; the nearest is named.
    """
    if names:
        return [manifest.source(name) for name in names]
    return [source for source in manifest.sources if not source.optional]


def ask(
    manifest: Manifest,
    sources: Sequence[Source],
    subjects: Sequence[str],
    state: State,
    web: Web,
    relist: bool = False,
    quiet: bool = False,
) -> dict[str, NeurovisError]:
    """Get the lists that are not there yet.

    Returns
    -------
    dict
        What went wrong, by source.
    """
    failed: dict[str, NeurovisError] = {}
    for source in sources:
        asked = fill(source.include, subjects or manifest.subjects)
        asked = asked if relist else state.lacks(source, asked)
        if not asked:
            continue
        say(f"{source.name}: asking {source.kind} {source.where} for its list of files", quiet)
        mine = [file for file in manifest.files if file.source == source.name]
        try:
            state.keep(source, asked, listing(source, mine, web, asked), anew=relist)
        except (Dead, Offline) as error:
            failed[source.name] = error
    return failed


def plan(
    manifest: Manifest,
    sources: Sequence[Source],
    state: State,
    subjects: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Plan:
    """Files that the lists, the patterns and the subjects leave.

    Raises
    ------
    NeurovisError
        If two lists name a file where another has a folder, or a checksum of the manifest differs
        from its owners' list.
    """
    people = People(manifest.expects, manifest.subjects)
    facts = {file.path: file for file in manifest.files}
    items: dict[str, Item] = {}
    for source in sources:
        listed = state.listed.get(source.name)
        if listed is None or (listed.kind, listed.where) != (source.kind, source.where):
            continue
        wanted = fill(source.include, subjects or manifest.subjects)
        unwanted = fill(source.exclude, manifest.subjects) if source.exclude else []
        for remote in listed.files:
            path = f"{source.into}/{remote.path}" if source.into else remote.path
            if not matches(remote.path, wanted) or matches(remote.path, unwanted):
                continue
            if subjects and not people.keep(path, subjects):
                continue
            if include and not matches(path, include):
                continue
            remote = _with_facts(manifest, path, remote, facts.get(path))
            places = [remote]
            if remote.also:
                places.append(remote.model_copy(update={"url": remote.also}))
            if path not in items:
                unpack = source.unpack if is_archive(path) else ""
                items[path] = Item(path, places, source.name, unpack)
            elif remote.size in (None, items[path].size):
                items[path].remotes += places
    _refuse_clashes(items)
    made = Plan([items[path] for path in sorted(items)], people)
    named = {source.name: source for source in sources if source.name in state.listed}
    for path, file in facts.items():
        source = named.get(file.source)
        if source is None or path in items or (include and not matches(path, include)):
            continue
        there = path.removeprefix(f"{source.into}/") if source.into else path
        ours = not subjects or people.keep(path, subjects)
        if ours and matches(there, fill(source.include, subjects or manifest.subjects)):
            made.gone[path] = NeurovisError(
                f"{path}: its owners ({source.kind} {source.where}) do not list it any more; they moved "
                "or removed it."
            )
    return made


def _with_facts(manifest: Manifest, path: str, remote: Remote, file: File | None) -> Remote:
    """Add what the manifest says of a file to what its owners' list says."""
    if file is None:
        return remote
    added = {}
    for name in ("size", "sha256", "md5"):
        mine, theirs = getattr(file, name), getattr(remote, name)
        if mine is not None and theirs is not None and mine != theirs:
            raise NeurovisError(
                f"{manifest.name}: {path} has {name} {theirs} in its owners' list, {mine} in the "
                "manifest: they published another version; update neurovis, or report it."
            )
        if mine is not None and theirs is None:
            added[name] = mine
    return remote.model_copy(update=added)


def _refuse_clashes(items: dict[str, Item]) -> None:
    for path in items:
        folder = path.rpartition("/")[0]
        while folder:
            if folder in items:
                raise NeurovisError(
                    f"list of files: {folder!r} is a file and a folder; choose one --source."
                )
            folder = folder.rpartition("/")[0]


def check_terms(manifest: Manifest, accept: Sequence[str], state: State) -> None:
    """Ask for what the owners ask of every user; what was accepted once under a root stays so.

    Raises
    ------
    UsageError
        With the address of the terms and the flag to add.
    """
    terms = manifest.terms
    if terms is None or state.accepted == terms.flag:
        return
    if terms.flag in accept:
        state.accepted = terms.flag
        state.write()
        return
    wrong = f", found --accept {accept[0]}" if accept else ""
    raise UsageError(
        f"{manifest.name}: its owners ask you to accept their terms ({terms.url}): "
        f"{terms.text.rstrip('.')}; read them, then add --accept {terms.flag}{wrong}."
    )
