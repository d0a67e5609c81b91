"""The instrument of live sessions gives all its numbers."""

from __future__ import annotations

import pytest

from musetalk_core import bench_live
from musetalk_core.live_hearing import LOOK_AHEAD
from tests.core.jobs import Listeners
from tests.core.test_live import avatar, threads


@pytest.mark.usefixtures("all_skin")
def test_a_short_measurement() -> None:
    models = Listeners()
    report = bench_live.measure(models, avatar(models), 0.4)
    for networks in ("models", "instant"):
        values = report[networks]
        assert values["first_frame_arriving"] > LOOK_AHEAD and values["first_frame_at_once"] > 0
        assert values["frames_per_second"] > 0 and 0 <= values["idle_share"] < 1
    table = bench_live.table(report)
    assert "64 x 64 at 25 fps" in table and "132.5 ms" in table
    assert f"{report['models']['first_frame_at_once']:.3f}" in table
    assert sum(models.networks.unet.batches) > 0
    assert not threads()
