import re

import numpy as np

from neurovis.report.qc import write_page
from neurovis.signals.chain import Run
from neurovis.signals.sources import Recording
from neurovis.signals.subject import SubjectLog


def log_of(position, note="3 < 4 & more"):
    rng = np.random.default_rng(0)
    log = SubjectLog("01", "planted<script>", names=["A", "B", "C"], types=["eeg"] * 3)
    log.position, log.sfreq, log.recorded_sfreq, log.tmin = position, 100.0, 500.0, -0.1
    power = 1e-12 * rng.random((3, 250))
    run = Run(
        rng.standard_normal((4, 3, 30)) * 1e-6, np.arange(4), {4: "peak-to-peak over 1e-04 (A)"},
        {"B": "flat"}, np.arange(250) + 0.5, power, 0.1 * power,
    )  # fmt: skip
    sets = np.array(["train", "train", "test", "train"])
    log.add(Recording("01", "1", "01", __file__), run, sets, [note])
    return log


def test_the_page_stands_alone_and_escapes(tmp_path):
    write_page(tmp_path / "qc.html", log_of(0.1 * np.eye(3)), {"reject": "<b>"})
    page = (tmp_path / "qc.html").read_text(encoding="utf-8")
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', page)
    assert "3 &lt; 4 &amp; more" in page
    assert "planted<script>" not in page
    assert "&lt;b&gt;" in page
    assert "1 x peak-to-peak over 1e-04 (A)" in page
    assert "B: flat" in page
    assert page.count("data:image/png") >= 3
    assert [p.name for p in tmp_path.iterdir()] == ["qc.html"]


def test_unknown_positions_are_said(tmp_path):
    write_page(tmp_path / "qc.html", log_of(np.full((3, 3), np.nan)), {})
    assert (tmp_path / "qc.html").is_file()
