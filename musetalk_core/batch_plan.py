"""How a clip is cut into steps: what is looked at, what is shown when, and where the pieces of the video begin."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import torch

from .audio import AudioFeatures, WindowedRows, encode_window
from .batch_folder import WorkFolder, lost
from .lazy_frames import LazyFrames
from .media_input import open_clip
from .media_output import errors_named
from .models import Models
from .progress import Frames, Picked
from .tasks import Task, stamps
from .video_frames import VideoFrames
from .video_look import VideoLook
from .video_survey import Survey


@dataclass(frozen=True)
class Seen:
    """The source of a clip, as it was when the plan was made.

    Attributes:
        survey: Of a video; None for stills.
        used: Which frames of the file the plan's are; the first ones when None.
        count: How many the plan has.
        size: Their height and width, pixels.
        rate: Frames a second at which they come, see `job.look_rate`.
    """

    survey: Survey | None
    used: list[int] | None
    count: int
    size: tuple[int, int]
    rate: Fraction

    def frames(self, source: Path) -> Frames:
        """The frames of the plan, read when they are asked for."""
        if self.survey is None:
            whole = open_clip(source).frames
        else:
            whole = LazyFrames(VideoFrames(self.survey), self.survey.window)
        return whole[: self.count] if self.used is None else Picked(whole, self.used)


@dataclass(frozen=True)
class Plan:
    """How a clip is made.

    Attributes:
        written: When its files had last been written before they were read, see `written`.
        seen: Its source; None for an avatar, which brings its own frames.
        order: Which of the source's frames each output frame shows.
        fps: Frames a second of the output.
        counts: Rows of features of each window of the sound, see `WindowedRows`.
        seconds: Where the sound ends; None where all of it is heard.
        look: Of the output; None for stills.
        looks, pieces: The ranges of source frames that are looked at, and of output frames that are spoken, in one
            step each. There is nothing to look at where the faces are known.
    """

    written: list[int]
    seen: Seen | None
    order: list[int]
    fps: Fraction
    counts: list[int]
    seconds: Fraction | None
    look: VideoLook | None
    looks: list[range]
    pieces: list[range]


def written(task: Task) -> list[int]:
    """When the files of a source, and that of a voice, were last written, nanoseconds."""
    return [moment for path in (task.source, task.audio) for _, moment in stamps(path)]


def cut(frames: int, size: int) -> list[range]:
    """Ranges of ``size`` frames, of which the last may have fewer."""
    return [range(start, min(start + size, frames)) for start in range(0, frames, size)]


def shard_frames(seconds: float, fps: Fraction, batch_size: int) -> int:
    """How many frames a step takes of a clip: whole batches, so that they are the batches of the uncut clip.

    Args:
        seconds: How long a step's frames are to last.
        fps: Frames a second.
        batch_size: Frames a pass of the networks.
    """
    return max(1, round(seconds * fps / batch_size)) * batch_size


def save(folder: WorkFolder, plan: Plan, features: AudioFeatures) -> None:
    """Write a plan, and what Whisper will see of the sound, into a clip's folder.

    Args:
        folder: The clip's.
        plan: Of the clip.
        features: Of its sound, no window of which need be encoded yet.

    Raises:
        MediaError: it cannot be written.
    """
    folder.save_rows(folder.sound, torch.stack(list(features.rows.mels)).numpy())
    folder.save_rows(folder.speech, features.speech)
    seen = plan.seen
    record = {
        "written": plan.written,
        "seen": seen and _seen_record(seen),
        "order": plan.order,
        "fps": str(plan.fps),
        "counts": plan.counts,
        "seconds": plan.seconds and str(plan.seconds),
        "look": plan.look and _look_record(plan.look),
        "looks": [(part.start, part.stop) for part in plan.looks],
        "pieces": [(part.start, part.stop) for part in plan.pieces],
    }
    with errors_named(folder.output), folder.writing(folder.plan) as part:
        part.write_text(json.dumps(record), encoding="utf-8")


def load(folder: WorkFolder) -> Plan:
    """Read the plan of a clip.

    Raises:
        MediaError: it is not there any more.
    """
    try:
        record = json.loads(folder.plan.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise lost(folder, error) from error
    return Plan(
        record["written"],
        record["seen"] and _seen(record["seen"]),
        record["order"],
        Fraction(record["fps"]),
        record["counts"],
        record["seconds"] and Fraction(record["seconds"]),
        record["look"] and _look(record["look"]),
        [range(*part) for part in record["looks"]],
        [range(*part) for part in record["pieces"]],
    )


def features_of(models: Models, folder: WorkFolder, plan: Plan) -> AudioFeatures:
    """The features of the whole sound, of which a window is read and encoded when a frame asks for it.

    Raises:
        MediaError: the sound is not in the folder any more.
    """
    release = models.release
    mels = folder.rows(folder.sound)
    rows = WindowedRows(lambda mel: encode_window(models.whisper(), torch.tensor(mel), release), mels, plan.counts)
    speech = folder.rows(folder.speech)
    return AudioFeatures(rows, len(plan.order), plan.fps, release.edges == "repeat", release.name, speech)


def _seen_record(seen: Seen) -> dict[str, object]:
    survey = seen.survey and _survey_record(seen.survey)
    return asdict(seen) | {"survey": survey, "rate": str(seen.rate)}


def _seen(record: dict) -> Seen:
    survey = record["survey"] and _survey(record["survey"])
    return Seen(survey, record["used"], record["count"], tuple(record["size"]), Fraction(record["rate"]))


def _survey_record(survey: Survey) -> dict[str, object]:
    """Everything by which the frames of a video are found again, but not when they are shown: the plan says that."""
    return {
        "source": str(survey.source),
        "window": [survey.window.start, survey.window.stop],
        "stamps": survey.stamps,
        "prints": survey.prints,
        "keys": list(survey.keys.items()),
        "fps": survey.fps and str(survey.fps),
        "look": _look_record(survey.look),
        "capacity": survey.capacity,
    }


def _survey(record: dict) -> Survey:
    return Survey(
        Path(record["source"]),
        range(*record["window"]),
        record["stamps"],
        record["prints"],
        dict(record["keys"]),
        (),
        Fraction(0),
        record["fps"] and Fraction(record["fps"]),
        False,
        _look(record["look"]),
        record["capacity"],
        [],
    )


def _look_record(look: VideoLook) -> dict[str, object]:
    return asdict(look) | {"pixel_aspect": str(look.pixel_aspect)}


def _look(record: dict) -> VideoLook:
    return VideoLook(**record | {"pixel_aspect": Fraction(record["pixel_aspect"])})
