"""One self-contained HTML file from a run: what was decoded, how well, how sure one can be.

Comes in: a run folder after ``neurovis evaluate``. Goes out: ``report.html``, readable offline, on a
phone and on paper, without a script and with nothing loaded from anywhere. All numbers come from the
run's files; the same run gives the same page.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neurovis import __version__
from neurovis.progress import progress
from neurovis.report import (
    account,
    adapted,
    amounts,
    coverage,
    encoding,
    evoked,
    gallery,
    headline,
    moments,
    pictures,
    quality,
    reconstruction,
    regions,
    sections,
    spots,
)
from neurovis.report.analyses import Analysed, read_analysis
from neurovis.report.frames import Frames
from neurovis.report.markup import Markup, el
from neurovis.report.material import Material, read
from neurovis.report.pictures import Pictures
from neurovis.report.style import CSS, GALLERY
from neurovis.store import atomic

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def report_run(run: str | Path, out: str | Path | None = None, quiet: bool = False) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    run : path
        Folder made by ``neurovis train`` and scored by ``neurovis evaluate``, or by ``neurovis
        analyse``.
    out : path, optional
        The file; ``report.html`` in the run if not given.
    quiet : bool

    Returns
    -------
    Path
        The file.

    Raises
    ------
    NeurovisError
        If the run is not there, not evaluated, or a file of it is damaged.
    """
    run = Path(run)
    out = Path(out) if out is not None else run / "report.html"
    if (run / "analysis.json").is_file():
        page = alone(run)
    elif (run / "encoding.json").is_file():
        page = encoding.page(run, quiet)
    else:
        page = build(read(run), quiet)
    with atomic(out) as partial:
        partial.write_text(page, encoding="utf-8")
    return out


def analysed(
    found: tuple[Analysed, ...],
) -> list[tuple[str, str, Callable[[], Markup | None]]]:
    """Sections of analyses."""
    return [
        ("when", "When", lambda: moments.moments(found)),
        ("where", "Where", lambda: spots.spots(found)),
        ("amount", "How much data", lambda: amounts.amounts(found)),
    ]


def parts(
    material: Material, shown: Pictures, frames: Frames
) -> list[tuple[str, str, Callable[[], Markup | None]]]:
    """Sections in order: id, title, how to make it."""
    first = (
        ("pictures", "The categories", lambda: pictures.categories(material, shown))
        if material.category
        else ("pictures", "Seen and retrieved", lambda: pictures.retrievals(material, shown))
    )
    return [
        (
            "gallery",
            "Seen, retrieved, reconstructed",
            lambda: gallery.gallery(material, shown, frames),
        ),
        ("painted-scores", "Scores of reconstructions", lambda: quality.scores(material)),
        ("painting", "How reconstructions were made", lambda: quality.settings(material)),
        first,
        (
            "reconstructions",
            "Seen and reconstructed",
            lambda: reconstruction.reconstructions(material, material.reconstructed, shown),
        ),
        ("recordings", "Recording by recording", lambda: sections.recordings(material)),
        ("repeats", "Accuracy against repeats", lambda: sections.repeats(material)),
        ("subjects", "Subject by subject", lambda: sections.subjects(material)),
        ("coverage", "Accuracy against confidence", lambda: coverage.coverage(material)),
        ("confusion", "What is taken for what", lambda: sections.confusion(material)),
        ("evoked", "Evoked responses", lambda: evoked.evoked(material)),
        ("voxels", "Voxels and regions", lambda: regions.regions(material)),
        *analysed(material.analyses),
        ("training", "Training", lambda: sections.training(material)),
        ("comparisons", "Comparisons and control", lambda: sections.comparisons(material)),
        ("scores", "All scores", lambda: sections.metrics(material)),
        ("corrected", "Corrected at test time", lambda: adapted.adapted(material)),
        ("protocol", "Protocol", lambda: account.protocol(material)),
        ("versions", "Versions", lambda: account.versions(material)),
        ("reproduce", "How to reproduce it", lambda: account.reproduce(material)),
    ]


def build(material: Material, quiet: bool = False) -> str:
    """The page of a material."""
    shown, frames = Pictures(material), Frames()
    made = []
    for key, title, make in progress(
        parts(material, shown, frames), desc="report", quiet=quiet, unit="part"
    ):
        body = make()
        if body:
            made.append((key, title, body))
    links = el(
        "nav", [el("a", title, href=f"#{key}") for key, title, _ in made], aria_label="Contents"
    )
    top = el(
        "header",
        el(
            "p",
            f"neurovis report · {material.config.get('name') or material.name}",
            class_="eyebrow",
        ),
        headline.warned(material),
        headline.sentence(material),
        headline.context(material),
        headline.bars(material),
        links,
    )
    name = material.config.get("name") or material.name
    style = CSS + GALLERY * bool(material.painted) + shown.css() + frames.css()
    return _page(top, made, material.name, f"neurovis report: {name}", style)


def alone(folder: Path) -> str:
    """The page of an analysis that is part of no run."""
    one = read_analysis(folder)
    made = [(key, title, body) for key, title, make in analysed((one,)) if (body := make())]
    said = {"when": "When", "where": "Where", "amount": "With how much data"}[one.kind]
    top = el(
        "header",
        el("p", f"neurovis report · {one.name}", class_="eyebrow"),
        el("h1", f"{said} signals tell what was seen"),
    )
    return _page(top, made, one.name, f"neurovis report: {one.name}", CSS)


def _page(
    top: Markup, made: list[tuple[str, str, Markup]], name: str, title: str, style: str
) -> str:
    body = [el("section", el("h2", said), part, id=key) for key, said, part in made]
    foot = el("footer", el("p", f"Made by neurovis {__version__} from {name}. This page loads "
                           "nothing from anywhere."))  # fmt: skip
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", title),
        # the style sheet is our own text and base64: nothing in it is read from a name
        el("style", Markup(style)),
    )
    page = el("html", head, el("body", top, el("main", body), foot), lang="en")
    return f"<!doctype html>\n{page}\n"
