"""Rows of photos, captions, proposals and edits: how they are found and written, and how they become types.

A picture exists once, whoever judges it; what classifiers make of it is in `judgement_rows.py`. Every function leaves
beginning and ending the transaction to its caller.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sql

from pipeline.errors import DataError
from pipeline.scores import Scores
from pipeline.store.collection_rows import place_photo
from pipeline.store.judgement_rows import Vocabulary, save_judgements, save_vocabulary, unpack
from pipeline.store.schema import (
    Row,
    away,
    counterfactuals,
    digest,
    insert,
    judgements,
    perturbations,
    photos,
    proposals,
    studies,
)
from pipeline.types import (
    ANALYST,
    FOLDER,
    GUESS,
    UNKNOWN,
    Check,
    CounterfactualRecord,
    Perturbation,
    Photo,
    PhotoRecord,
    Prediction,
    Rewording,
    Standing,
)

RANKS = {GUESS: 0, UNKNOWN: 1, FOLDER: 2, ANALYST: 3}  # of sources of labels: who may overrule whom
_WORDS = tuple(column for column in perturbations.c if column.name != "key")


def perturbation_of(row: Row, decided: Sequence[str] | None = None) -> Perturbation:
    """Return the perturbation of a row; `decided` is the analyst's word, where there is one."""
    return Perturbation(
        caption=row.caption,
        edited_caption=row.edited_caption,
        factor=row.factor,
        original=row.original,
        edit=row.edit,
        rejected_by=tuple(row.rejected_by if decided is None else decided),
        checks=tuple(Check(**check) for check in row.checks),
    )


def photo_of(row: Row, judge: Vocabulary) -> PhotoRecord:
    """Return the photo's record of a row of `heads`."""
    return PhotoRecord(
        key=row.key,
        label=row.label,
        prediction=unpack(row.prediction, judge.labels),
        name=row.name,
        classifier=judge.name,
        fingerprint=judge.fingerprint,
        label_source=row.label_source,
        label_analyst=row.label_analyst,
    )


def counterfactual_of(row: Row, prediction: Prediction | Standing) -> CounterfactualRecord:
    """Return the counterfactual of a row of `made`, with what is kept of its prediction."""
    return CounterfactualRecord(
        key=row.key,
        perturbation=perturbation_of(row),
        tau=row.tau,
        scores=Scores.of(row.scores),
        prediction=prediction,
        missed=tuple(row.missed),
        seed=row.seed,
        models=row.models,
        settings=row.settings,
        scorer=row.scorer,
    )


def heads(vocabulary: str) -> sql.Select[Any]:
    """Return every photo that this classifier judged, with its present caption's rows and the control's judgement."""
    judged, control = judgements.alias(), judgements.alias()
    present = sql.and_(studies.c.photo == photos.c.key, studies.c.caption == photos.c.caption)
    of_control = sql.and_(control.c.picture == studies.c.reconstruction, control.c.vocabulary == vocabulary)
    columns = (studies.c.key.label("study"), studies.c.reconstruction)
    return (
        sql.select(photos, *columns, judged.c.prediction, control.c.prediction.label("control"))
        .join(judged, sql.and_(judged.c.picture == photos.c.picture, judged.c.vocabulary == vocabulary))
        .outerjoin(studies, present)
        .outerjoin(control, of_control)
    )


def made(vocabulary: str) -> sql.Select[Any]:
    """Return every counterfactual that this classifier judged, with words and judgement; a study's in their order."""
    judged = sql.and_(judgements.c.picture == counterfactuals.c.picture, judgements.c.vocabulary == vocabulary)
    query = sql.select(counterfactuals, *_WORDS, judgements.c.prediction).join(
        perturbations, perturbations.c.key == counterfactuals.c.perturbation
    )
    return query.join(judgements, judged).order_by(counterfactuals.c.study, counterfactuals.c.number)


def distinct(rows: Iterable[Row], versions: frozenset[str]) -> list[Row]:
    """Drop what earlier versions of this program drew twice, once for every classifier.

    Of those, that stays which was drawn for the classifier with these vocabularies.
    """
    found: dict[object, Row] = {}
    for row in rows:
        same = (row.study, row.edited_caption, row.tau, row.picture) if row.settings is None else row.key
        if same not in found or (row.vocabulary in versions and found[same].vocabulary not in versions):
            found[same] = row
    return sorted(found.values(), key=lambda row: row.number)


def proposed(connection: sql.Connection, study: str) -> Sequence[Row]:
    """Return the proposals under a caption, in the analyst's order."""
    query = (
        sql.select(perturbations, proposals.c.decided, proposals.c.position)
        .join(proposals)
        .where(proposals.c.study == study)
    )
    return connection.execute(query.order_by(proposals.c.position)).all()


def decide_proposal(connection: sql.Connection, study: str, position: int, reasons: list[str] | None) -> None:
    """Note the analyst's word on a proposal, or take it back with None."""
    here = (proposals.c.study == study, proposals.c.position == position)
    connection.execute(sql.update(proposals).where(*here).values(decided=reasons))


def proposal_of(row: Row) -> Perturbation:
    """Return the proposal of a row of `proposed`."""
    return perturbation_of(row, row.decided)


def need_photo(connection: sql.Connection, photo: str) -> Row:
    """Return the photo's own row. Raises `DataError` when there is none."""
    row = connection.execute(sql.select(photos).where(photos.c.key == photo)).one_or_none()
    if row is None:
        raise DataError(f"There is no photo {photo[:12]} in this data folder; add it first.")
    return row


def change(connection: sql.Connection, photo: str, **values: object) -> None:
    """Change values of a photo, which comes first in every list by that."""
    connection.execute(sql.update(photos).where(photos.c.key == photo).values(updated=time.time(), **values))


def save_photo(connection: sql.Connection, photo: Photo, picture: str, collection: int | None = None) -> None:
    """Insert a photo with its judgement, and show it in this collection, or in one of single photos.

    One that is known keeps its label unless the new one's source outranks it.
    """
    vocabulary = save_vocabulary(connection, photo.judge)
    save_judgements(connection, vocabulary, {picture: photo.prediction})
    label = {"label": photo.label, "label_source": photo.label_source, "label_analyst": photo.label_analyst}
    known = connection.execute(sql.select(photos).where(photos.c.key == photo.key)).one_or_none()
    if known is None:
        now = time.time()
        fixed = {"key": photo.key, "picture": picture, "name": photo.name, "caption": "", "vocabulary": vocabulary}
        connection.execute(sql.insert(photos).values(created=now, updated=now, **fixed, **label))
    else:
        outranks = RANKS[photo.label_source] > RANKS[known.label_source]
        change(connection, photo.key, name=known.name or photo.name, **(label if outranks else {}))
    connection.execute(sql.delete(away).where(away.c.photo == photo.key))
    place_photo(connection, photo.key, collection)


def study_key(photo: str, caption: str) -> str:
    """Return the key of what rests on a caption of a photo."""
    return digest(photo, caption)


def save_caption(connection: sql.Connection, photo: str, caption: str, **values: object) -> str:
    """Save these values of what rests on a caption, whose row is made where it is not there, and return its key."""
    need_photo(connection, photo)
    key, now = study_key(photo, caption), time.time()
    line = insert(connection, studies).values(key=key, photo=photo, caption=caption, created=now, updated=now, **values)
    connection.execute(line.on_conflict_do_update(index_elements=["key"], set_={"updated": now, **values}))
    change(connection, photo)
    return key


def save_perturbations(connection: sql.Connection, all_of: Sequence[Perturbation]) -> tuple[str, ...]:
    """Insert what is not there yet and return all keys."""
    keys = tuple(digest(*asdict(perturbation).values()) for perturbation in all_of)
    rows = [{"key": key, **asdict(perturbation)} for key, perturbation in zip(keys, all_of, strict=True)]
    if rows:
        connection.execute(insert(connection, perturbations).on_conflict_do_nothing(), rows)
    return keys


def save_proposals(connection: sql.Connection, study: str, all_of: Sequence[Perturbation]) -> None:
    """Add them at the end; one with the same edited caption takes its place and keeps what an analyst decided."""
    known = sql.select(perturbations.c.edited_caption, proposals.c.position).join(proposals)
    places = {row[0]: row[1] for row in connection.execute(known.where(proposals.c.study == study))}
    for key, perturbation in zip(save_perturbations(connection, all_of), all_of, strict=True):
        if (place := places.get(perturbation.edited_caption)) is not None:
            here = (proposals.c.study == study, proposals.c.position == place)
            connection.execute(sql.update(proposals).where(*here).values(perturbation=key))
        else:
            places[perturbation.edited_caption] = place = max(places.values(), default=-1) + 1
            connection.execute(sql.insert(proposals).values(study=study, position=place, perturbation=key))


def save_counterfactuals(
    connection: sql.Connection,
    study: str,
    vocabulary: str,
    all_of: Sequence[CounterfactualRecord],
    pictures: Mapping[str, str],
) -> None:
    """Insert those whose key is not there yet; `pictures` by their keys."""
    words = save_perturbations(connection, [item.perturbation for item in all_of])
    for item, perturbation in zip(all_of, words, strict=True):
        line = insert(connection, counterfactuals).values(
            key=item.key,
            study=study,
            perturbation=perturbation,
            tau=item.tau,
            picture=pictures[item.key],
            scores=item.scores.kept,
            scorer=item.scorer,
            missed=list(item.missed),
            seed=item.seed,
            models=item.models,
            settings=item.settings,
            vocabulary=vocabulary,
        )
        connection.execute(line.on_conflict_do_nothing(index_elements=["key"]))


def count_for_study(column: sql.Column[str], name: str) -> sql.Label[int]:
    """Return how many rows of another table name the study, as a column of a query on `studies`."""
    query = sql.select(sql.func.count()).where(column == studies.c.key)
    return query.correlate(studies).scalar_subquery().label(name)


def rewording_of(row: Row) -> Rewording:
    """Return the rewording of a row of `rewordings`."""
    return Rewording(photo=row.photo, before=row.before, caption=row.caption, analyst=row.analyst, time=row.time)
