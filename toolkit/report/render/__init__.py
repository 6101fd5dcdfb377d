"""The output files of the report: page, Markdown, CSV and JSON."""
