"""The report: one HTML file that needs nothing beside it."""

from reconeval.report.html._write import check_report_path, write_report

__all__ = ["check_report_path", "write_report"]
