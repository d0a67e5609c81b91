"""Doing the steps in which the clips of a batch are made: whoever does them gives the same files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from . import avatar_store, batch_begin, batch_faces, batch_plan, job
from .audio import AudioFeatures
from .batch_plan import Plan
from .batch_steps import Begun, Job, Made, Step
from .errors import MediaError
from .job import Stages, comment
from .media_joining import PIECE, join_pieces
from .media_output import closing, open_mp4, require_place, write_tracks
from .models import Models
from .progress import Picked
from .speaking import lip_sync, speak
from .tasks import stamps


class Worker:
    """Does steps one after the other, with one set of networks for all of them.

    What a step needs it reads from files, and what it gives it leaves in files of the clip's `WorkFolder`: any worker
    that sees them may do any step whose stages before are done, once or again.

    Args:
        models: The networks.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._loaded = lru_cache(maxsize=1)(batch_plan.load)  # mostly the next step is of the same clip
        self._opened = lru_cache(maxsize=1)(lambda folder, stamp: avatar_store.open_avatar(folder, models))

    def do(self, of: Job, step: Step, stages: Stages) -> Begun | Made | None:
        """Do a step.

        Args:
            of: The clip.
            step: What to do.
            stages: Where to report how many of the step's frames are done.

        Returns:
            Of "begin" what there is to do, of "join" what was made.

        Raises:
            MuseTalkError: whatever is wrong with the input, the weights or the output.
        """
        if step.stage == "begin":
            return self._begin(of, stages)
        if step.stage == "look":
            return self._look(of, step.part, stages)
        if step.stage == "track":
            return self._track(of)
        if step.stage == "speak":
            return self._speak(of, step.part, stages)
        return self._join(of)

    def _begin(self, of: Job, stages: Stages) -> Begun:
        folder = of.folder
        folder.make()
        require_place(of.line.task.output)  # told now, not after hours of work
        if not folder.plan.exists():
            if of.line.avatar:
                batch_begin.plan_avatar(self._models, self._avatar(of), of)
            else:
                batch_begin.plan_clip(self._models, of, stages("begin"))
        plan, made = self._plan(of), None
        if len(plan.pieces) == 1:
            for part in range(len(plan.looks)):
                self._look(of, part, stages)
            if plan.looks:
                self._track(of)
            self._speak(of, 0, stages)
            made = self._join(of)
        return Begun([len(part) for part in plan.looks], [len(part) for part in plan.pieces], plan.fps, made)

    def _plan(self, of: Job) -> Plan:
        """The plan of a clip whose files are still those it was made for."""
        plan, task = self._loaded(of.folder), of.line.task
        if plan.written != batch_plan.written(task):
            raise MediaError(
                f"{task.source} or {task.audio} changed while {task.output} was made.",
                "Leave both alone and start again.",
            )
        return plan

    def _look(self, of: Job, part: int, stages: Stages) -> None:
        folder = of.folder
        if folder.faces(part).exists():
            return
        plan = self._plan(of)
        frames = plan.seen.frames(of.line.task.source)
        seen = job.find_faces(
            self._models, frames, plan.seen.rate, of.line.settings, stages("look"), plan.looks[part]
        )
        batch_faces.save_part(folder, part, seen)

    def _track(self, of: Job) -> None:
        folder = of.folder
        plan = self._plan(of)
        if folder.track.exists():
            return
        seen = batch_faces.joined(folder, len(plan.looks), plan.seen.size, plan.seen.rate)
        batch_faces.save_track(folder, job.track_chosen(self._models, seen, of.line.settings, plan.seen.rate))

    def _speak(self, of: Job, part: int, stages: Stages) -> None:
        folder, output = of.folder, of.line.task.output
        if folder.piece(part).exists():
            return
        plan = self._plan(of)
        piece = plan.pieces[part]
        order = plan.order[piece.start : piece.stop]
        features = batch_plan.features_of(self._models, folder, plan).part(piece.start, piece.stop)
        paint = self._paint_avatar if of.line.avatar else self._paint_clip
        with folder.writing(folder.piece(part)) as file, closing(output, open_mp4(output, file, {})) as container:
            painted = paint(of, plan, features, order, stages)
            write_tracks(output, container, painted, plan.fps, None, None, plan.look, None, PIECE)

    def _paint_clip(
        self, of: Job, plan: Plan, features: AudioFeatures, order: list[int], stages: Stages
    ) -> Iterator[np.ndarray]:
        settings = of.line.settings
        first, last = min(order), max(order)
        return lip_sync(
            self._models,
            Picked(plan.seen.frames(of.line.task.source), range(first, last + 1)),
            batch_faces.track_of(of.folder, first, last + 1),
            features,
            settings.batch_size,
            None if settings.seed is None else (settings.seed + first) % 2**64,  # each frame has noise of its own
            stages("speak"),
            [i - first for i in order],
            settings.finish,
            settings.fade_in_silence,
        )

    def _paint_avatar(
        self, of: Job, plan: Plan, features: AudioFeatures, order: list[int], stages: Stages
    ) -> Iterator[np.ndarray]:
        settings = of.line.settings
        return speak(
            self._models,
            self._avatar(of).face,
            features,
            settings.batch_size,
            stages("speak"),
            order,
            settings.finish,
            settings.fade_in_silence,
        )

    def _avatar(self, of: Job):
        return self._opened(of.line.avatar, str(stamps(of.line.task.source)))

    def _join(self, of: Job) -> Made:
        folder, task = of.folder, of.line.task
        plan = self._plan(of)
        pieces = [folder.piece(part) for part in range(len(plan.pieces))]
        words = comment(self._models, of.mark)
        frames = join_pieces(task.output, folder.own_part(), pieces, plan.fps, task.audio, words, plan.seconds)
        if of.line.avatar:
            return Made(frames, int((~self._avatar(of).face.track.present).sum()), 0)
        return Made(frames, *batch_faces.without_face(folder))
