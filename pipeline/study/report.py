"""The report of a reproduction: the same sections as Markdown, to be kept, and as one HTML page with Plotly figures.

Figures are percentage points with 95 % intervals wherever something was measured. Measures nothing itself.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape

from pipeline.study.results import Results, title_of
from pipeline.study.sections import sections

TITLE = "Weakness and repair, reproduced in miniature"
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "td,th{padding:.2rem .8rem;text-align:left}"
)


def markdown(results: Results) -> str:
    """Return the report without its figures; every number of them stands in a table."""
    parts = [f"# {TITLE}"]
    for section in sections(results):
        parts += [f"## {section.title}", section.text] if section.text else [f"## {section.title}"]
        if section.rows:
            lines = [section.columns, tuple("---" for _ in section.columns), *section.rows]
            parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return "\n\n".join(parts) + "\n"


def as_json(results: Results) -> str:
    """Return all figures as JSON, classifiers named as in the report."""
    told = asdict(results)
    for table in ("table_1", "table_2"):
        told[table] = {title_of(key): found for key, found in told[table].items()}
    return json.dumps(told, indent=1)


def html(results: Results) -> str:
    """Return one page that needs nothing else: Plotly is inside."""
    body, first = [f"<h1>{TITLE}</h1>"], True
    for section in sections(results):
        body.append(f"<h2>{escape(section.title)}</h2>")
        body += [f"<p>{escape(line)}</p>" for line in section.text.splitlines() if line]
        if section.figure is not None:
            body.append(section.figure.to_html(full_html=False, include_plotlyjs=first))
            first = False
        if section.rows:
            head = "".join(f"<th>{escape(name)}</th>" for name in section.columns)
            rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in section.rows)
            body.append(f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>")
    title = f'<meta charset="utf-8"><title>{TITLE}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en">{title}{"".join(body)}</html>\n'
