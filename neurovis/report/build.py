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
    coverage,
    encoding,
    evoked,
    headline,
    pictures,
    reconstruction,
    regions,
    sections,
)
from neurovis.report.markup import Markup, el
from neurovis.report.material import Material, read
from neurovis.report.pictures import Pictures
from neurovis.report.style import CSS
from neurovis.store import atomic

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def report_run(run: str | Path, out: str | Path | None = None, quiet: bool = False) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    run : path
        Folder made by ``neurovis train`` and scored by ``neurovis evaluate``.
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
    if (run / "encoding.json").is_file():
        page = encoding.page(run, quiet)
    else:
        page = build(read(run), quiet)
    with atomic(out) as partial:
        partial.write_text(page, encoding="utf-8")
    return out


def parts(
    material: Material, shown: Pictures
) -> list[tuple[str, str, Callable[[], Markup | None]]]:
    """Sections in order: id, title, how to make it."""
    first = (
        ("pictures", "The categories", lambda: pictures.categories(material, shown))
        if material.category
        else ("pictures", "Seen and retrieved", lambda: pictures.retrievals(material, shown))
    )
    return [
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
    shown = Pictures(material)
    made = []
    for key, title, make in progress(
        parts(material, shown), desc="report", quiet=quiet, unit="part"
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
    body = [el("section", el("h2", title), part, id=key) for key, title, part in made]
    foot = el("footer", el("p", f"Made by neurovis {__version__} from {material.name}. This page loads "
                           "nothing from anywhere."))  # fmt: skip
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"neurovis report: {material.config.get('name') or material.name}"),
        # the style sheet is our own text and base64: nothing in it is read from a name
        el("style", Markup(CSS + shown.css())),
    )
    page = el("html", head, el("body", top, el("main", body), foot), lang="en")
    return f"<!doctype html>\n{page}\n"
