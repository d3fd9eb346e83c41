"""One self-contained HTML file from a run, and the quality page of a preprocessed subject."""

from neurovis.report.build import report_run

__all__ = ["report_run"]
