"""Rows of decisions and sets: how they are found and written, and how they become types.

What a log of decisions means is told in `decisions.py`. Every function leaves beginning and ending the transaction to
its caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sql

from pipeline.store.schema import CHUNK, Row, decisions, hidden_counterfactuals, in_chunks, insert, sets
from pipeline.types import CounterfactualSet, Decision

_act = sql.case((decisions.c.act == "", decisions.c.id), else_=decisions.c.act)  # early rows are acts of their own


def decision_of(row: Row) -> Decision:
    """Return the decision of a row of `decisions`."""
    return Decision(
        id=row.id,
        counterfactual=row.counterfactual,
        verdict=row.verdict,
        reason=row.reason,
        analyst=row.analyst,
        time=row.time,
        act=row.act or row.id,
        kind=row.kind,
        of=row.of,
        number=row.number,
        label=row.label,
        tags=tuple(row.tags),
    )


def set_of(row: Row) -> CounterfactualSet:
    """Return the set of a row of `sets`."""
    return CounterfactualSet(name=row.name, version=row.version, items=tuple(row.items))


def latest(connection: sql.Connection, keys: Sequence[str], analyst: str | None) -> dict[str, Decision]:
    """Return counterfactual -> what was decided last about it; absent where that is nothing.

    By anybody, or by an analyst and by who settled a dispute, be it by doing so again.
    """
    settling = sql.select(_act).where(decisions.c.kind == "resolve")
    again = sql.and_(decisions.c.kind == "redo", decisions.c.of.in_(settling))
    settled = sql.or_(decisions.c.kind == "resolve", again)
    whose = () if analyst is None else (sql.or_(decisions.c.analyst == analyst, settled),)
    newest = sql.select(sql.func.max(decisions.c.number)).where(*whose).group_by(decisions.c.counterfactual)
    found: dict[str, Decision] = {}
    for start in range(0, len(keys), CHUNK):
        numbers = newest.where(decisions.c.counterfactual.in_(keys[start : start + CHUNK]))
        for row in connection.execute(sql.select(decisions).where(decisions.c.number.in_(numbers))):
            found[row.counterfactual] = decision_of(row)
    return found


def append(connection: sql.Connection, all_of: Sequence[Decision]) -> tuple[Decision, ...]:
    """Put the decisions at the end of the log, but those whose id is there already; return what the log holds."""
    lines = [asdict(decision) for decision in all_of]
    for line in lines:
        del line["number"]
    if lines:
        connection.execute(insert(connection, decisions).on_conflict_do_nothing(index_elements=["id"]), lines)
    rows = in_chunks(connection, sql.select(decisions), decisions.c.id, [decision.id for decision in all_of])
    held = {row.id: decision_of(row) for row in rows}
    return tuple(held[decision.id] for decision in all_of)


def log(connection: sql.Connection, *where: sql.ColumnElement[bool]) -> tuple[Decision, ...]:
    """Return the decisions on what is not put away, the oldest first."""
    shown = decisions.c.counterfactual.not_in(hidden_counterfactuals())
    query = sql.select(decisions).where(shown, *where).order_by(decisions.c.number)
    return tuple(map(decision_of, connection.execute(query)))


def acts(connection: sql.Connection, analyst: str) -> list[Row]:
    """Return an analyst's acts (analyst, act, kind, of), the oldest first, as `decisions.stacks` reads them."""
    first = sql.func.min(decisions.c.number)
    named = (decisions.c.analyst, _act.label("act"), decisions.c.kind, decisions.c.of)
    shown = decisions.c.counterfactual.not_in(hidden_counterfactuals())
    query = sql.select(*named).where(decisions.c.analyst == analyst, shown)
    return list(connection.execute(query.group_by(*named).order_by(first)))


def of_act(act: str) -> sql.ColumnElement[bool]:
    """Return the condition that a decision belongs to an act."""
    return _act == act


def beside_act(analyst: str, act: str) -> sql.ColumnElement[bool]:
    """Return the condition that a decision is this analyst's on something that the act is about."""
    touched = sql.select(decisions.c.counterfactual).where(of_act(act))
    return sql.and_(decisions.c.analyst == analyst, decisions.c.counterfactual.in_(touched))


def next_version(connection: sql.Connection, name: str, items: Sequence[str]) -> CounterfactualSet:
    """Save the set's next version, or return its latest one when that holds the same items."""
    query = sql.select(sets).where(sets.c.name == name).order_by(sets.c.version.desc()).limit(1)
    latest = connection.execute(query).one_or_none()
    if latest is not None and tuple(latest.items) == tuple(items):
        return set_of(latest)
    version = 1 if latest is None else latest.version + 1
    connection.execute(sql.insert(sets).values(name=name, version=version, items=list(items)))
    return CounterfactualSet(name=name, version=version, items=tuple(items))
