"""Figures and the one-file HTML report."""

from bayesnn.report.autopsy import autopsy_table, write_autopsy
from bayesnn.report.html import render_report, write_report
from bayesnn.report.summary import summary_table

__all__ = ["autopsy_table", "render_report", "summary_table", "write_autopsy", "write_report"]
