"""The graphs the tests queue, in API format."""

from __future__ import annotations

from typing import Any

Graph = dict[str, dict[str, Any]]
SYNTHETIC = "synthetic (installation check)"


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def speaking(seconds: float = 0.4, fps: float = 25.0, weights: str = SYNTHETIC, **models: Any) -> Graph:
    """A picture of noise speaks noise: every node of the pack but those of the face track file."""
    models = {"release": "1.5", "precision": "fp32", "fetch_missing": False, "weights": weights} | models
    common = {"models": ["models", 0], "batch_size": 4}
    return {
        "models": node("MuseTalkLoadModels", **models),
        "source": node("TestPictures", count=1, height=256, width=256, channels=3),
        "voice": node("TestSound", seconds=seconds, rate=16000, channels=1, broken="no"),
        "whisper": node("MuseTalkWhisperEncode", models=["models", 0], audio=["voice", 0], fps=fps),
        "landmarks": node(
            "MuseTalkDWPoseLandmarks",
            **common,
            images=["source", 0],
            bbox_shift=0,
            extra_margin=10,
            backend="torch",
            audio_features=["whisper", 0],
        ),
        "encode": node(
            "MuseTalkVAEEncode",
            **common,
            images=["source", 0],
            faces=["landmarks", 0],
            posterior="mode",
            seed=0,
        ),
        "inpaint": node("MuseTalkInpaint", **common, latents=["encode", 0], audio_features=["whisper", 0]),
        "decode": node("MuseTalkVAEDecode", **common, latent=["inpaint", 0]),
        "blend": node(
            "MuseTalkFaceParseBlend",
            **common,
            images=["source", 0],
            faces_painted=["decode", 0],
            faces=["landmarks", 0],
            mask_mode="as the release",
            cheek_width=90,
        ),
        "save": node("SaveImage", images=["blend", 0], filename_prefix="spoken"),
    }
