"""The example graphs: each a title, a text for its note, and its nodes."""

from __future__ import annotations

# Name, node type, column, inputs: a value, or the name and output slot of another node. Nodes of a column stand
# below each other in the order given.
MODELS = ("models", "MuseTalkLoadModels", 0, {})
SOURCE_IMAGE = ("source", "LoadImage", 0, {"image": "face.jpg"})
VOICE = ("voice", "LoadAudio", 0, {"audio": "voice.wav"})
WHISPER = ("whisper", "MuseTalkWhisperEncode", 1, {"models": "models.0", "audio": "voice.0"})
INPAINT = (
    "inpaint",
    "MuseTalkInpaint",
    3,
    {"models": "models.0", "latents": "encode.0", "audio_features": "whisper.0"},
)
DECODE = ("decode", "MuseTalkVAEDecode", 4, {"models": "models.0", "latent": "inpaint.0"})


def landmarks(images: str) -> tuple:
    inputs = {"models": "models.0", "images": images, "audio_features": "whisper.0"}
    return "landmarks", "MuseTalkDWPoseLandmarks", 1, inputs


def encode(images: str, faces: str = "landmarks.0") -> tuple:
    return "encode", "MuseTalkVAEEncode", 2, {"models": "models.0", "images": images, "faces": faces}


def blend(images: str, faces: str = "landmarks.0") -> tuple:
    inputs = {"models": "models.0", "images": images, "faces_painted": "decode.0", "faces": faces}
    return "blend", "MuseTalkFaceParseBlend", 4, inputs


def video(fps: object = 25.0) -> list[tuple]:
    inputs = {"images": "blend.0", "audio": "voice.0", "fps": fps}
    return [
        ("video", "CreateVideo", 5, inputs),
        ("save", "SaveVideo", 5, {"video": "video.0", "filename_prefix": "video/MuseTalk"}),
    ]


def with_musev(*front: tuple, images: str, rate: float) -> list[tuple]:
    """The chain behind frames of MuseV that are meant for ``rate`` frames a second."""
    return [
        MODELS,
        SOURCE_IMAGE,
        VOICE,
        *front,
        ("musev", "MuseTalkMuseVFrames", 2, {"images": images, "frames_per_second": rate}),
        ("whisper", "MuseTalkWhisperEncode", 3, {"models": "models.0", "audio": "voice.0", "fps": "musev.1"}),
        moved(landmarks("musev.0"), 3),
        moved(encode("musev.0"), 4),
        moved(INPAINT, 4),
        moved(DECODE, 5),
        moved(blend("musev.0"), 5),
        *(moved(node, 6) for node in video("musev.1")),
    ]


def moved(node: tuple, column: int) -> tuple:
    name, kind, _, inputs = node
    return name, kind, column, inputs


def preview(images: str = "landmarks.1") -> tuple:
    return "preview", "PreviewImage", 2, {"images": images}


PICTURE_TO_FACES = [
    MODELS,
    SOURCE_IMAGE,
    VOICE,
    WHISPER,
    landmarks("source.0"),
    preview(),
    encode("source.0"),
    INPAINT,
    DECODE,
]
GRAPHS = {
    "MuseTalk picture speaks": (
        "One picture and one voice in, the same face speaking out. The preview shows the points that were found, "
        "the box that is repainted, and the range in which **bbox_shift** is useful: more opens the mouth more.",
        [
            *PICTURE_TO_FACES,
            blend("source.0"),
            *video(),
        ],
    ),
    "MuseTalk lip sync a video": (
        "The whole job in one node, for videos of any length: frames pass through a few at a time, so memory does "
        "not grow with the clip, and size, rate and colours stay the video's own. *Face Options* is for clips with "
        "several faces, with frames without a face, or with tilted heads; without it the defaults hold. Choose "
        "your video in *Load Video*.",
        [
            MODELS,
            ("clip", "LoadVideo", 0, {"file": "face.mp4"}),
            VOICE,
            ("options", "MuseTalkFaceOptions", 1, {}),
            (
                "speak",
                "MuseTalkLipSyncVideo",
                2,
                {"models": "models.0", "audio": "voice.0", "video": "clip.0", "face_options": "options.0"},
            ),
            ("save", "SaveVideo", 3, {"video": "speak.0", "filename_prefix": "video/MuseTalk"}),
        ],
    ),
    "MuseTalk dub a video": (
        "A video speaks with a new voice, at the video's own frame rate. Frames run forwards and backwards when the "
        "voice lasts longer than the video. Choose your video in *Load Video*.",
        [
            MODELS,
            ("clip", "LoadVideo", 0, {"file": "face.mp4"}),
            VOICE,
            ("parts", "GetVideoComponents", 0, {"video": "clip.0"}),
            (*WHISPER[:3], {**WHISPER[3], "fps": "parts.2"}),
            landmarks("parts.0"),
            preview(),
            encode("parts.0"),
            INPAINT,
            DECODE,
            blend("parts.0"),
            *video("parts.2"),
        ],
    ),
    "MuseTalk save a face track": (
        "Faces are found once and written to `output/face_tracks`, readable and reusable. Look at the preview, then "
        "use the file in *MuseTalk load a face track*.",
        [
            MODELS,
            SOURCE_IMAGE,
            ("landmarks", "MuseTalkDWPoseLandmarks", 1, {"models": "models.0", "images": "source.0"}),
            preview(),
            ("track", "MuseTalkSaveFaceTrack", 2, {"faces": "landmarks.0"}),
        ],
    ),
    "MuseTalk load a face track": (
        "*MuseTalk Load Face Track* takes the place of *DWPose Landmarks*: no face network runs, and **bbox_shift** "
        "can still be changed.",
        [
            MODELS,
            SOURCE_IMAGE,
            VOICE,
            WHISPER,
            ("landmarks", "MuseTalkLoadFaceTrack", 1, {"models": "models.0", "file": "face.json"}),
            encode("source.0"),
            INPAINT,
            DECODE,
            blend("source.0"),
            *video(),
        ],
    ),
    "MuseTalk stock VAE": (
        "MuseTalk's latents are ordinary LATENTs: here the stock *Load VAE* and *VAE Decode* do the VAE's work, so "
        "one copy of sd-vae-ft-mse in `models/vae` serves everything.",
        [
            ("vae", "VAELoader", 0, {"vae_name": "vae-ft-mse-840000-ema-pruned.safetensors"}),
            (*MODELS[:3], {"vae": "vae.0"}),
            SOURCE_IMAGE,
            VOICE,
            WHISPER,
            landmarks("source.0"),
            preview(),
            encode("source.0"),
            INPAINT,
            ("decode", "VAEDecode", 4, {"samples": "inpaint.0", "vae": "vae.0"}),
            blend("source.0"),
            *video(),
        ],
    ),
}
SPEAK = ("speak", "MuseTalkAvatarSpeak", 2, {"models": "models.0", "avatar": "avatar.0", "audio": "voice.0"})
GRAPHS |= {
    "MuseTalk prepare an avatar": (
        "Everything that does not depend on the voice is done once and kept in `output/avatars`. Tune **bbox_shift** "
        "with the preview and **first_frames** at 1 or a few: only what depends on it is done again. Then set "
        "**first_frames** to 0, and speak here or in *MuseTalk avatar speaks*.",
        [
            MODELS,
            ("clip", "LoadVideo", 0, {"file": "face.mp4"}),
            VOICE,
            ("avatar", "MuseTalkAvatarPrepare", 1, {"models": "models.0", "video": "clip.0"}),
            ("preview", "PreviewImage", 2, {"images": "avatar.1"}),
            (*SPEAK[:3], {**SPEAK[3], "first_frames": 8}),
            ("save", "SaveVideo", 3, {"video": "speak.0", "filename_prefix": "video/MuseTalk"}),
        ],
    ),
    "MuseTalk avatar speaks": (
        "A prepared avatar says one voice after the other: only the mouth is painted and blended. The node plays the "
        "video while it is made. Prepare one first with *MuseTalk prepare an avatar*.",
        [
            MODELS,
            VOICE,
            ("avatar", "MuseTalkAvatarLoad", 1, {"models": "models.0", "name": "avatar"}),
            SPEAK,
            ("save", "SaveVideo", 3, {"video": "speak.0", "filename_prefix": "video/MuseTalk"}),
        ],
    ),
}
MUSEV_SIZE = {"ref_image": "source.0", "width": 512, "height": 512}
POSES = {"images": "clip.0", "frame_rate": 8, "filename_prefix": "poses", "format": "video/h264-mp4"}
GRAPHS |= {
    "MuseV picture to talking video": (
        "MuseV moves the head and the eyes of a picture, MuseTalk makes it speak. MuseV gives few frames, meant for "
        "4 to 12 a second: tell *MuseTalk MuseV Frames* their rate, and it makes the 25 that MuseTalk was trained "
        "at. They run forwards and backwards for as long as the voice lasts.\n\nNeeds the pack **ComfyUI-MuseV** "
        "(chaojie) and its weights.",
        with_musev(("run", "MuseVRun", 1, MUSEV_SIZE), images="run.0", rate=8.0),
    ),
    "MuseV with RIFE": (
        "RIFE puts two frames between any two of MuseV, so 8 frames a second become 24; *MuseTalk MuseV Frames* "
        "makes 25 of them. When you change **multiplier**, multiply **frames_per_second** likewise.\n\nNeeds the "
        "packs **ComfyUI-MuseV** (chaojie) and **ComfyUI-Frame-Interpolation** (Fannovel16).",
        with_musev(
            ("run", "MuseVRun", 1, MUSEV_SIZE),
            ("rife", "RIFE VFI", 1, {"frames": "run.0", "multiplier": 3}),
            images="rife.0",
            rate=24.0,
        ),
    ),
    "MuseV video to video": (
        "The person in the picture moves as the one in your video does, and speaks. MuseV wants a video of poses: "
        "for an ordinary one, put *DWPose Estimator* of comfyui_controlnet_aux between *Load Video* and *Video "
        "Combine*. MuseV needs at least **video_len** frames of it.\n\nNeeds the packs **ComfyUI-MuseV** (chaojie) "
        "and **ComfyUI-VideoHelperSuite** (Kosinkadink).",
        with_musev(
            ("clip", "VHS_LoadVideo", 0, {"video": "face.mp4", "format": "None"}),
            ("poses", "VHS_VideoCombine", 1, POSES),
            ("path", "VHS_FILENAMES_STRING_MuseV", 1, {"filenames": "poses.0"}),
            ("run", "MuseVRunVid2Vid", 1, {**MUSEV_SIZE, "video_path": "path.0"}),
            images="run.0",
            rate=8.0,
        ),
    ),
    "MuseTalk with a face restorer": (
        "MuseTalk paints 256 x 256, which looks soft on large faces. *Face Parse Blend* takes faces of any size, so "
        "anything that improves a face may stand between it and *VAE Decode*. Here two nodes of ComfyUI hold the "
        "place. Put a restorer there instead: *Restore Face* of facerestore_cf or *ReActor Restore Face* (GFPGAN, "
        "CodeFormer), *FaceDetailer* of the Impact Pack, or *Upscale Image (using Model)* with a model for faces.",
        [
            *PICTURE_TO_FACES,
            ("larger", "ImageScaleBy", 4, {"image": "decode.0", "upscale_method": "lanczos", "scale_by": 2.0}),
            ("sharper", "ImageSharpen", 4, {"image": "larger.0", "sharpen_radius": 2, "alpha": 0.5}),
            moved(
                ("blend", "MuseTalkFaceParseBlend", 4, {**blend("source.0")[3], "faces_painted": "sharper.0"}),
                5,
            ),
            *(moved(node, 6) for node in video()),
        ],
    ),
}
