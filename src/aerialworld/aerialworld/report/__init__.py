"""report.html: one self-contained page about a run."""

from aerialworld.report.page import render_report, write_report

__all__ = ["render_report", "write_report"]
