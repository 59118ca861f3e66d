"""Figures and the one-file HTML report."""

from bayesnn.report.html import render_report, write_report
from bayesnn.report.summary import summary_table

__all__ = ["render_report", "summary_table", "write_report"]
