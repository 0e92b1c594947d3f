"""The photo on the Explore page: what is told of one that the profile's models do not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explorer.desk import Desk
from explorer.pages.explore import photo
from pipeline.store.store import Store
from pipeline.tasks import studio
from tests.seams import SeamModels, picture


@pytest.mark.parametrize(("least", "told"), [(0.0, False), (30.0, False), (31.0, True)])
def test_a_picture_that_is_rebuilt_worse_than_the_profile_asks_is_told_with_both_figures(
    store: Store, least: float, told: bool
) -> None:
    models = SeamModels()
    models = replace(models, profile=replace(models.profile, min_round_trip=least, outside_hint="Draw <it> yourself."))
    desk = Desk(models=models, store=store)
    banner = str(photo.banner(desk, studio.take_in(models, store, picture("red"))))
    desk.close()
    said = "reaches 30.0 dB, where 31.0 dB is the least. Draw &lt;it&gt; yourself."
    assert (said in banner, bool(banner)) == (told, told)
