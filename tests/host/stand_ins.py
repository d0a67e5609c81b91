"""Nodes that the tests put into the host, to make inputs that no stock node makes."""

import torch


class TestSound:
    """An AUDIO of noise: `seconds` at `rate` with `channels`, or one that is broken in the named way."""

    CATEGORY = "test"
    FUNCTION = "make"
    RETURN_TYPES = ("AUDIO",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "seconds": ("FLOAT", {"default": 0.4}),
                "rate": ("INT", {"default": 16000, "max": 192000}),
                "channels": ("INT", {"default": 1}),
                "broken": (["no", "nan", "none", "silent", "batch"],),
            }
        }

    def make(self, seconds, rate, channels, broken):
        if broken == "none":
            return (None,)
        torch.manual_seed(0)
        waveform = torch.rand(2 if broken == "batch" else 1, channels, round(seconds * rate)) - 0.5
        if broken == "nan":
            waveform[..., 100:103] = float("nan")
        if broken == "silent":
            waveform.zero_()
        return ({"waveform": waveform, "sample_rate": rate},)


class TestPictures:
    """An IMAGE of noise, (count, height, width, channels)."""

    CATEGORY = "test"
    FUNCTION = "make"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        sizes = {"count": 1, "height": 256, "width": 256, "channels": 3}
        return {"required": {name: ("INT", {"default": value}) for name, value in sizes.items()}}

    def make(self, count, height, width, channels):
        torch.manual_seed(0)
        return (torch.rand(count, height, width, channels),)


NODE_CLASS_MAPPINGS = {"TestSound": TestSound, "TestPictures": TestPictures}
