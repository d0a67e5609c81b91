"""The benchmark's plain formulations are the reference's: they give the reference's results."""

from musetalk_core.bench_plain import plain_blend, plain_parse
from musetalk_core.releases import RELEASES
from tests.parity import networks
from tests.parity.test_parity import assert_same_picture


def test_plain_parsing(golden):
    data = golden("parsing")
    labels = plain_parse(networks.filled_bisenet(), [data["image"]])[0]
    assert (labels == data["labels"]).mean() >= 0.999


def test_plain_compositing(golden):
    data = golden("blending")
    v15, v1 = RELEASES["1.5"], RELEASES["1.0"]
    for i, box in enumerate(data["boxes"]):
        given = data["frame"], data[f"face_{i}"], box, data["label_map"]
        assert_same_picture(plain_blend(*given, v15, "raw"), data[f"blend_raw_{i}"])
        assert_same_picture(plain_blend(*given, v15, "jaw"), data[f"blend_jaw_{i}"])
        assert_same_picture(plain_blend(*given, v1), data[f"blend_v1_{i}"])
