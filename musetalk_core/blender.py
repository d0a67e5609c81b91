"""Blending a whole clip: masks made once for each source frame, and only for those that are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from . import blending, device_compositing, masks
from .blending import Visible
from .errors import InputError
from .faces import FaceTrack, require_fit
from .finishing import NO_FINISH, OUTER_LIP, Finish
from .models import Models
from .passes import in_passes
from .progress import Frames, Progress, silent
from .recent import Recent
from .releases import MaskMode, Release
from .synthetic import stamp
from .timeline import source_frame

_MASK_BYTES = 96 << 20
Mask = tuple[blending.Square, np.ndarray]
"""The square round a face, and uint8 (side, side): how much of the painted face shows there."""
Masks = Callable[[list[int]], list[Mask]]
"""Gives the masks of the source frames with these indices; each has a face."""


@dataclass(frozen=True)
class ParsedFace:
    """A face of which the parts are known; its mask costs no network.

    Attributes:
        picture: uint8 RGB (s, s, 3), the square as it was parsed, upright.
        labels: uint8 (512, 512), of `masks.parse_faces`, as far as a mask follows from them.
        box: The face box, x1, y1, x2, y2 in pixels.
        square: The square round it.
        release: Gives the mask's settings.
    """

    picture: np.ndarray
    labels: np.ndarray
    box: np.ndarray
    square: blending.Square
    release: Release

    def mask(self, mode: MaskMode | None = None, cheek_width: int | None = None) -> np.ndarray:
        """uint8 (side, side): how much of the painted face shows; mode and width instead of the release's."""
        width = self.release.cheek_width if cheek_width is None else cheek_width
        window = blending.region_window(self.box, self.square)
        region = masks.select_region(self.labels, mode or self.release.mask_mode, width, window)
        return blending.soften(region, self.box, self.square, self.release.blur_ratio)


class Blender:
    """Blends faces into frames, parsing each source frame once and only if it is used.

    Args:
        models: The networks; the release gives the mask's settings.
        frames: The source frames.
        track: Where the faces are.
        mask_mode: Instead of the release's.
        cheek_width: Instead of the release's, for mode "jaw".
        finish: What is done to each face before it is blended.
        masks: Masks that are there already; nothing is parsed then.

    Attributes:
        first: The first face that was parsed, None before.

    Raises:
        InputError: frames and track do not belong together.
    """

    def __init__(
        self,
        models: Models,
        frames: Frames,
        track: FaceTrack,
        mask_mode: MaskMode | None = None,
        cheek_width: int | None = None,
        finish: Finish = NO_FINISH,
        masks: Masks | None = None,
    ) -> None:
        require_fit(frames, track)
        self._models = models
        self._device = models.cache.residency.device
        self._frames = frames
        self._track = track
        self._finish = finish
        self._mask_settings = mask_mode, cheek_width
        self._find = masks or self._parse
        self.first: ParsedFace | None = None
        self._visible: Recent[int, Visible] = Recent(_MASK_BYTES, lambda visible: visible.alpha.nbytes)

    def blend_all(
        self,
        painted: Frames,
        batch_size: int = 8,
        progress: Progress = silent,
        weights: Sequence[float] | None = None,
    ) -> Iterator[np.ndarray]:
        """`blend` for all faces, batch by batch.

        Args:
            painted: uint8 RGB (h, w, 3) each, one for every output frame.
            batch_size: Frames parsed at once.
            progress: Called once a batch, with its last frame.
            weights: 0..1 for each, how much of the painted face is seen; all of it when None.

        Yields:
            uint8 RGB (H, W, 3) each.
        """
        if weights is not None and len(weights) < len(painted):
            raise InputError(
                f"The audio features last {len(weights)} frames, but there are {len(painted)} painted faces.",
                "Connect the audio features that the faces were painted with.",
            )
        for start in range(0, len(painted), batch_size):
            stop = min(start + batch_size, len(painted))
            sources = [source_frame(i, len(self._track), self._track.length) for i in range(start, stop)]
            faces = [painted[i] for i in range(start, stop)]
            for frame in self.blend(sources, faces, None if weights is None else weights[start:stop]):
                yield frame
            progress(stop, len(painted), frame)

    def blend(
        self, sources: Sequence[int], painted: Frames, weights: Sequence[float] | None = None
    ) -> Iterator[np.ndarray]:
        """Output frames: the source frame with the face in its box.

        Args:
            sources: Which source frame each output frame shows.
            painted: uint8 RGB (h, w, 3) faces; ignored where the source frame has none.
            weights: 0..1 for each, how much of the painted face is seen; all of it when None.

        Yields:
            uint8 RGB (H, W, 3) each.
        """
        yield from self.composite(self._frames, sources, painted, self.masks(sources, weights), weights)

    @torch.inference_mode()
    def masks(self, sources: Sequence[int], weights: Sequence[float] | None = None) -> dict[int, Visible]:
        """The networks' part of `blend`: what shows of the face where one will be seen, by source frame."""
        weights = [1.0] * len(sources) if weights is None else weights
        present = self._track.present
        seen = [i for i, weight in zip(sources, weights, strict=True) if weight > 0 and present[i]]
        return self._visible.all(seen, self._look)

    def composite(
        self,
        frames: Frames | Mapping[int, np.ndarray],
        sources: Sequence[int],
        painted: Frames,
        masks: Mapping[int, Visible],
        weights: Sequence[float] | None = None,
    ) -> Iterator[np.ndarray]:
        """The rest of `blend`, which uses no network: it may go on in another thread.

        Args:
            frames: The source frames, at least those that are shown.
            masks: From `masks`.
            sources, painted, weights: As for `blend`.

        Yields:
            uint8 RGB (H, W, 3) each.
        """
        weights = [1.0] * len(sources) if weights is None else weights
        for source, face, weight in zip(sources, painted, weights, strict=True):
            frame = frames[source].copy()
            if weight > 0 and source in masks:
                box, angle = self._track.boxes[source], self._track.angles[source]
                # Where only the detector saw the face, nobody knows which part of it is the mouth.
                finish = self._finish if self._track.landmarks[source].max() >= 0 else NO_FINISH
                mouth = self._track.upright_landmarks(source)[OUTER_LIP] if finish else None
                if self._device.type == "cuda" and not angle and not finish:
                    device_compositing.show(frame, face, box, masks[source], weight, self._device)
                else:
                    blending.show(frame, face, box, masks[source], angle, weight, finish, mouth)
            yield stamp(frame) if self._models.synthetic else frame

    def _look(self, sources: list[int]) -> list[Visible]:
        found = zip(sources, self._find(sources), strict=True)
        return [blending.visible_part(mask, self._track.boxes[i], square) for i, (square, mask) in found]

    def _parse(self, sources: list[int]) -> list[Mask]:
        faces = parse_squares(self._models, self._frames, self._track, sources)
        if self.first is None and faces:
            self.first = faces[0]
        return [(face.square, face.mask(*self._mask_settings)) for face in faces]


@torch.inference_mode()
def parse_squares(models: Models, frames: Frames, track: FaceTrack, sources: Sequence[int]) -> list[ParsedFace]:
    """The faces of some source frames, each of which has one, parsed in one pass."""
    release = models.release
    squares = [blending.blending_square(track.boxes[i], release.crop_expand) for i in sources]
    cuts = [
        blending.cut_square(frames[i], square, track.angles[i]) for i, square in zip(sources, squares, strict=True)
    ]
    windows = [
        masks.surroundings(blending.region_window(track.boxes[i], square))
        for i, square in zip(sources, squares, strict=True)
    ]
    wanted = list(zip(cuts, windows, strict=True))
    passes = in_passes(
        models,
        "parsing faces",
        wanted,
        len(wanted),
        lambda part: masks.parse_faces(models.face_parse(len(part)), *zip(*part, strict=True)),
    )
    labels = [label_map for _, label_maps in passes for label_map in label_maps]
    return [
        ParsedFace(cut, label_map, track.boxes[i], square, release)
        for i, square, cut, label_map in zip(sources, squares, cuts, labels, strict=True)
    ]


def parse_masks(
    models: Models,
    frames: Frames,
    track: FaceTrack,
    sources: Sequence[int],
    mask_mode: MaskMode | None = None,
    cheek_width: int | None = None,
) -> list[Mask]:
    """The masks of some source frames, each of which has a face; mode and width instead of the release's."""
    faces = parse_squares(models, frames, track, sources)
    return [(face.square, face.mask(mask_mode, cheek_width)) for face in faces]
