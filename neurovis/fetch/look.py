"""What of a dataset is there, what is half there and what is missing, without a network.

Comes in: a manifest and a root. Goes out: a `Look`, subject by subject: what the reader expects, against
the files under the root and, where the owners' list was kept by a fetch, their sizes. It also sees what
goes wrong in practice: the folder above or below was given, a subject's folder is called otherwise, a
clone holds links to files that were never fetched.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neurovis.errors import NeurovisError
from neurovis.fetch.patterns import People, fill, is_name, matches
from neurovis.fetch.plan import Item, plan
from neurovis.fetch.state import FOLDER, State
from neurovis.manifest import Manifest

SHARED = ""


@dataclass
class Share:
    """One subject's part of a dataset, or (label ``""``) what all share.

    Parameters
    ----------
    subject : str
    there : int
        Files that are there with the size that their owners say.
    half : list of (str, int, int or None)
        Path, bytes there, bytes in all, of those that are half there.
    differs : list of str
        Those of another size than their owners say.
    missing : list of str
        Paths, or patterns where no list of files is at hand.
    links : list of str
        Links to files that are not there.
    need : int
        Bytes still to be fetched, as far as known.
    hint : str
    """

    subject: str
    there: int = 0
    half: list[tuple[str, int, int | None]] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    need: int = 0
    hint: str = ""

    @property
    def absent(self) -> bool:
        """Whether nothing of it is there."""
        return not (self.there or self.half or self.differs or self.links)

    @property
    def good(self) -> bool:
        """Whether nothing that the reader expects is missing or unfinished."""
        return not (self.half or self.differs or self.missing or self.links)


@dataclass
class Look:
    """What is there of a dataset.

    Parameters
    ----------
    shares : list of Share
    listed : bool
        Whether sizes were compared with the owners' list.
    accepted : bool
        Whether its terms were accepted for this root, or it has none.
    hint : str
        Another folder that looks like the root.
    """

    shares: list[Share]
    listed: bool
    accepted: bool
    hint: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing is missing."""
        return all(share.good for share in self.shares)

    @property
    def need(self) -> int:
        """Bytes still to be fetched, as far as known."""
        return sum(share.need for share in self.shares)


def look(manifest: Manifest, root: Path, subject: Sequence[str] = ()) -> Look:
    """Compare a root with what a manifest expects.

    Parameters
    ----------
    manifest : Manifest
    root : Path
    subject : sequence of str
        Only these.

    Returns
    -------
    Look

    Raises
    ------
    NeurovisError
        If there is no such folder.
    """
    if not root.is_dir():
        raise NeurovisError(
            f"{root}: no such folder, expected the root of {manifest.name!r}; give its path, or get "
            f"the dataset: neurovis fetch {manifest.name} --root {root}"
        )
    state = State(root, manifest.name)
    made = plan(manifest, [s for s in manifest.sources if s.name in state.listed], state)
    subjects = made.people.choose(subject) or list(manifest.subjects)
    shares = {who: Share(who) for who in (SHARED, *subjects)}
    required = [item for item in made.items if _required(item.path, manifest)]
    covered = set()
    for item in required:
        named = made.people.of(item.path)
        for who in named & set(shares) if named else {SHARED}:
            _weigh(shares[who], item, state)
            covered.add(who)
    _add_patterns(shares, manifest, root, covered)
    _add_unfinished(shares, root, made.people, {item.path for item in required})
    kept = [share for share in shares.values() if share.subject or not share.good or share.there]
    terms = manifest.terms
    found = Look(kept, bool(required), terms is None or state.accepted == terms.flag)
    if all(share.absent for share in kept):
        found.hint = _elsewhere(manifest, root, subjects)
    return found


def _required(path: str, manifest: Manifest) -> bool:
    """Whether the reader needs a listed file: it, or a folder that it is in, is expected."""
    if not manifest.expects:
        return True
    return matches(path, fill(manifest.expects, manifest.subjects))


def _weigh(share: Share, item: Item, state: State) -> None:
    remote = item.remotes[0]
    verdict = state.verdict(item.path, remote)
    place = state.root / item.path
    if verdict in ("whole", "unread"):
        share.there += 1
        return
    part = place.with_name(place.name + ".part")
    have = part.stat().st_size if part.is_file() else 0
    share.need += max(0, (remote.size or 0) - have)
    if place.is_symlink() and not place.exists():
        share.links.append(item.path)
    elif have:
        share.half.append((f"{item.path}.part", have, remote.size))
    elif verdict == "half":
        share.half.append((item.path, place.stat().st_size, remote.size))
    elif verdict == "differs":
        share.differs.append(item.path)
    else:
        share.missing.append(item.path)


def _add_patterns(
    shares: dict[str, Share], manifest: Manifest, root: Path, covered: set[str]
) -> None:
    """Patterns of what the reader expects that nothing under the root answers."""
    expected = fill(manifest.expects, manifest.subjects) if manifest.expects else []
    for pattern in manifest.expects:
        whose = [w for w in shares if w] if "{subject}" in pattern else [SHARED]
        for who in whose:
            share = shares[who]
            (asked,) = fill([pattern], [who] if who else [])
            found = _found(root, asked)
            links = [p for p in found if p.is_symlink() and not p.exists()]
            if links and who not in covered:
                share.links.append(links[0].relative_to(root).as_posix())
            elif found and who not in covered:
                share.there += 1
            elif not found and not any(matches(path, [asked]) for path in _named(share)):
                share.missing.append(asked)
                share.hint = share.hint or _nearest(root, asked, expected)


def _named(share: Share) -> list[str]:
    """What is already said to be missing or unfinished."""
    return [
        *share.missing,
        *share.differs,
        *(path.removesuffix(".part") for path, *_ in share.half),
    ]


def _found(root: Path, pattern: str) -> list[Path]:
    """What answers a pattern, links to nothing included."""
    asked = pattern.rstrip("/")
    asked = f"{asked}/*" if asked.endswith("**") else asked
    above, _, name = asked.rpartition("/")
    if not any(sign in name for sign in "*?"):
        # the last part as it is: a glob passes over links that lead nowhere
        places = [folder / name for folder in (root.glob(above) if above else [root])]
        places = [place for place in places if os.path.lexists(place)]
    else:
        places = list(root.rglob(asked) if is_name(asked) else root.glob(asked))
    return [p for p in places if FOLDER not in p.parts and p.suffix != ".part"]


def _add_unfinished(shares: dict[str, Share], root: Path, people: People, known: set[str]) -> None:
    """Unfinished files of which no list says how large they become."""
    for part in root.rglob("*.part"):
        path = part.relative_to(root).as_posix()
        if path.removesuffix(".part") in known or FOLDER in part.parts:
            continue
        named = people.of(path)
        for who in named & set(shares) if named else {SHARED}:
            shares[who].half.append((path, part.stat().st_size, None))


def _nearest(root: Path, pattern: str, expected: Sequence[str]) -> str:
    """A folder or file that is called nearly as what is missing, and as nothing else that is expected."""
    place = root
    for number, part in enumerate(pattern.split("/")):
        if "*" in part or "?" in part or not place.is_dir():
            return ""
        if not (place / part).exists():
            taken = {other.split("/")[number] for other in expected if other.count("/") >= number}
            names = [p.name for p in place.iterdir() if p.name not in taken | {FOLDER}]
            near = difflib.get_close_matches(part.lower(), [n.lower() for n in names], 1, 0.7)
            same = [n for n in names if near and n.lower() == near[0]]
            return f"found {same[0]!r}, expected {part!r}" if same and same[0] != part else ""
        place /= part
    return ""


def _elsewhere(manifest: Manifest, root: Path, subjects: Sequence[str]) -> str:
    """The folder above or below that looks like the root."""
    patterns = fill(manifest.expects, subjects) if manifest.expects else []
    below = [p for p in sorted(root.iterdir()) if p.is_dir() and p.name != FOLDER][:50]
    for place in (*below, root.resolve().parent):
        for pattern in patterns:
            if "/" in pattern and next(place.glob(pattern.rstrip("/")), None) is not None:
                return str(place)
    return ""
