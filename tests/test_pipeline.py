"""The whole job, tiny, through the command line: raw recordings to scores and a report."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from neurovis.cli import main
from neurovis.demo import demo
from neurovis.evaluate import evaluate_prediction, read_scores
from neurovis.listing import HOME
from neurovis.records import Embeddings, Prediction, Stimuli
from neurovis.store import read_json

DESIGN = {
    "n_subjects": 1, "n_sessions": 1, "n_runs": 2, "n_train_concepts": 40, "n_exemplars": 2,
    "train_repeats": 2, "n_test": 20, "test_repeats": 4, "sfreq": 240, "size": 64, "snr": 0.4,
}  # fmt: skip
EXPERIMENT = {
    "name": "tiny",
    "targets": {"picture": {"encoder": "gabor+color", "components": 16, "whiten": 0.5}},
    "brain": {"name": "inverted", "n_hidden": 8},
    "train": {"epochs": 3, "batch_size": 64},
    "device": "cpu",
}
MODALITIES = {
    "meg": ["n_subjects=2", "modality.n_chans=24"],
    "eeg": [],
    "fmri": ["n_subjects=2", "modality.voxel_size=7", "sfreq=null", "snr=0.4"],
}


def neurovis(*words) -> str:
    """Run one command that must succeed; give what it prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main([*map(str, words), "--quiet"]) == 0
    return said.getvalue()


@dataclass
class Job:
    """Everything that was made, and how."""

    out: Path
    modality: str

    def commands(self) -> tuple[list, ...]:
        words = [f"{k}={v}" for k, v in DESIGN.items()] + MODALITIES[self.modality]
        world = self.out / "world"
        make = ["--n-jobs", "1"]
        return (
            ["simulate", "--modality", self.modality, "--out", world, *make, *words],
            ["preprocess", "synthetic", "--root", world, "--out", self.out, *make],
            ["train", self.out / "tiny.yaml", "--out", self.out],
        )

    @property
    def prepared(self) -> Path:
        (folder,) = (self.out / "prepared").iterdir()
        return folder

    @property
    def run(self) -> Path:
        (folder,) = (self.out / "runs").iterdir()
        return folder

    def score(self, system: str, name: str = "top5", averaged: int = 4):
        wanted = {"system": system, "subject": "all", "n_averaged": averaged}
        (found,) = (
            score
            for score in read_scores(self.run)
            if score.name == name
            and "comparison" not in score.about
            and wanted.items() <= score.about.items()
        )
        return found


@pytest.fixture(scope="module", params=MODALITIES)
def job(request, tmp_path_factory) -> Job:
    made = Job(tmp_path_factory.mktemp(request.param), request.param)
    simulate, preprocess, train = made.commands()
    assert "neurovis preprocess synthetic" in neurovis(*simulate)
    said = neurovis(*preprocess)
    assert f"Prepared: {made.prepared}" in said
    content = {**EXPERIMENT, "data": {"path": str(made.prepared)}}
    (made.out / "tiny.yaml").write_text(yaml.safe_dump(content))
    said = neurovis(*train)
    assert f"Run: {made.run}" in said
    assert "top5" in neurovis("evaluate", made.run)
    assert "report.html" in neurovis("report", made.run)
    return made


def test_every_system_is_scored_and_they_stand_in_order(job):
    chance = 5 / DESIGN["n_test"]
    for system in ("tower", "ridge", "shuffled", "informed_observer", "optimal_observer"):
        score = job.score(system)
        assert score.chance == pytest.approx(chance)
        assert score.low <= score.value <= score.high
        assert score.n == DESIGN["n_test"]
        assert score.gallery
        assert score.protocol
    assert job.score("tower").low > chance
    assert job.score("shuffled").low <= chance
    assert read_json(job.run / "scores.json")["control_at_chance"] is True
    for averaged in (1, 4):
        one = [job.score(s, "top1", averaged) for s in ("informed_observer", "optimal_observer")]
        assert one[0].value <= one[1].value
        assert one[0].low > 1 / DESIGN["n_test"]
        assert job.score("tower", "top1", averaged).value <= one[1].value
    assert (
        job.score("optimal_observer", "top1", 1).value
        < job.score("optimal_observer", "top1", 4).value + 1e-9
    )


def test_the_report_stands_alone_and_shows_confusion_by_family(job):
    page = (job.run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["']?(?!data:|#)[^"'>\s]+""", page)
    assert not re.search(r"url\(['\"]?(?!data:|#)", page)
    assert "@import" not in page
    assert 'id="confusion"' in page
    hierarchy = read_json(job.run / "hierarchy.json")
    stimuli = Stimuli.read(job.run / "stimuli.csv")
    assert hierarchy == read_json(job.out / "world" / "stimuli" / "hierarchy.json")
    families = {hierarchy[c][1] for c in stimuli.concept[stimuli.set == "test"]}
    superclasses = {hierarchy[c][0] for c in stimuli.concept[stimuli.set == "test"]}
    shown = re.search(r'aria-label="(Confusion[^"]*)', page)
    assert shown
    assert re.search(r"between (\d+) groups", shown[1])[1] in (
        str(len(families)),
        str(len(superclasses)),
    )
    for system in ("tower", "ridge"):
        value = 100 * job.score(system).value
        assert f"{value:.0f}" in page


def test_the_same_commands_again_do_nothing(job):
    before = {p: p.stat().st_mtime_ns for p in job.out.rglob("*") if p.is_file()}
    for words in job.commands():
        neurovis(*words)
    assert before == {p: p.stat().st_mtime_ns for p in job.out.rglob("*") if p.is_file()}
    scores = (job.run / "scores.json").read_bytes()
    page = (job.run / "report.html").read_bytes()
    neurovis("evaluate", job.run)
    neurovis("report", job.run)
    assert (job.run / "scores.json").read_bytes() == scores
    assert (job.run / "report.html").read_bytes() == page


def strings(path: Path) -> str:
    """Every text in a file: attributes and string datasets of HDF5, else all its bytes."""
    if path.suffix != ".h5":
        return path.read_bytes().decode("utf-8", "replace")
    found = []

    def visit(name, item):
        found.append(name)
        found.extend(f"{k} {v}" for k, v in item.attrs.items())
        if isinstance(item, h5py.Dataset) and h5py.check_string_dtype(item.dtype) and item.size:
            found.extend(np.ravel(item.asstr()[()]).tolist())

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
    return "\n".join(map(str, found))


def test_no_artefact_says_where_it_was_made(job):
    folders = [job.out / name for name in ("world", "prepared", "runs", "embeddings")]
    files = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} >= {".h5", ".json", ".html", ".yaml", ".csv", ".safetensors"}
    private = [str(job.out), str(job.out.parent), str(Path.home()) + "/", "/tmp/"]
    for path in files:
        said = strings(path)
        assert not [word for word in private if word in said], path.relative_to(job.out)


def test_nothing_unfinished_is_left(job):
    assert not [p for p in job.out.rglob("*") if "partial" in p.name or "checkpoint" in p.name]
    assert main(["doctor", str(job.run)]) == 0
    for family in HOME:
        assert neurovis("list", family).strip()


def test_a_prediction_that_went_out_and_came_back_scores_the_same(job, tmp_path):
    said = Prediction.read(job.run / "systems" / "tower" / "prediction.h5")
    gallery = Embeddings.read(job.run / "systems" / "tower" / "gallery" / "picture.h5")
    np.save(tmp_path / "said.npy", said.vector["picture"])
    np.save(tmp_path / "gallery.npy", gallery.vector)
    (tmp_path / "gallery.txt").write_text("\n".join(gallery.image))
    columns = zip(said.image, said.subject, said.n_averaged, said.recording)
    lines = ["image,subject,n_averaged,recording", *(",".join(map(str, row)) for row in columns)]
    (tmp_path / "said.csv").write_text("\n".join(lines))
    place = ["--out", tmp_path, "--ids"]
    neurovis("import", "prediction", tmp_path / "said.npy", *place, tmp_path / "said.csv")
    neurovis("import", "embeddings", tmp_path / "gallery.npy", *place, tmp_path / "gallery.txt")
    files = ["--prediction", tmp_path / "prediction.h5", "--embeddings", tmp_path / "embeddings.h5"]
    assert "top5" in neurovis("evaluate", *files)
    again = evaluate_prediction(
        Prediction.read(tmp_path / "prediction.h5"),
        Embeddings.read(tmp_path / "embeddings.h5"),
        quiet=True,
    )
    key = lambda s: (s.name, s.about["subject"], s.about["n_averaged"])  # noqa: E731
    own = {
        key(s): s
        for s in read_scores(job.run)
        if s.about.get("system") == "tower" and "comparison" not in s.about
    }
    assert own.keys() == {key(s) for s in again}
    for score in again:
        for field in ("value", "low", "high", "chance", "n"):
            assert getattr(score, field) == pytest.approx(getattr(own[key(score)], field))


def test_the_demo_is_the_same_job(tmp_path, capsys):
    experiment = {k: EXPERIMENT[k] for k in ("targets", "brain", "train", "device")}
    # a prior needs ten validation images, a tenth of those that are trained on
    options = {"design": {**DESIGN, "n_train_concepts": 60}, "experiment": experiment}
    options["generate"] = {"samples": 1, "generator": {"name": "world", "steps": 2}}
    page = demo(tmp_path, "eeg", n_jobs=1, quiet=True, **options)
    assert page.name == "report.html"
    assert page.stat().st_size > 10_000
    assert "Seen, retrieved, reconstructed" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().out == ""
    weights = sorted(page.parent.glob("model*.safetensors"))
    stamp = [path.stat().st_mtime_ns for path in weights]
    assert demo(tmp_path, "eeg", n_jobs=1, quiet=False, **options) == page
    assert [path.stat().st_mtime_ns for path in weights] == stamp
    said = capsys.readouterr()
    for command in ("simulate", "preprocess synthetic", "train", "evaluate", "generate", "report"):
        assert f"$ neurovis {command}" in said.out + said.err
