"""Files are sent as they are where WebRTC can carry them, else encoded again; always in real time."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from stagecast.media.encoding import VIDEO_CODECS, Encoded, Picture, VideoCodec
from stagecast.media.sources import File, Source, SourceError, TestPattern

SECONDS = 2


def film(path: Path, *options: str) -> Path:
    """Two seconds of 320x180 at 30 pictures a second, and a tone."""
    subprocess.run(
        [
            *(get_ffmpeg_exe(), "-loglevel", "error", "-y"),
            *("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"),
            *("-f", "lavfi", "-i", "sine=sample_rate=48000"),
            *("-t", str(SECONDS), "-pix_fmt", "yuv420p", *options, str(path)),
        ],
        check=True,
    )
    return path


def drain(source: Source, seconds: float = 60) -> tuple[list[Encoded], list[Encoded]]:
    """All video and all sound that is due until then."""
    frames: list[Encoded] = []
    while (due := source.next_due()) is not None and due < seconds:
        frames += source.take()
    source.close()
    return [f for f in frames if f.kind == "video"], [f for f in frames if f.kind == "audio"]


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_pattern_has_one_frame_a_tick(codec: VideoCodec) -> None:
    video, audio = drain(TestPattern(Picture(codec, 320, 180, 30, 400_000)), SECONDS)
    assert [frame.pts for frame in video] == [n * 3000 for n in range(60)]
    assert len(audio) == 100
    assert all(b.pts - a.pts == 960 for a, b in pairwise(audio[1:]))


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_requested_keyframe_is_made_at_once(codec: VideoCodec) -> None:
    source = TestPattern(Picture(codec, 320, 180, 30, 400_000, gop_seconds=10), audio=False)
    plain = [source.take() for _ in range(10)]
    source.request_keyframe()
    asked, after = source.take(), source.take()
    source.close()
    typical = max(len(f.data) for frames in plain[5:] for f in frames)
    assert len(asked[0].data) > 2 * typical
    assert len(after[0].data) < len(asked[0].data)


def test_file_that_fits_is_copied(tmp_path: Path) -> None:
    path = film(tmp_path / "fits.mkv", "-c:v", "libx264", "-bf", "0", "-c:a", "libopus")
    source = File(path, Picture(), codec=None)
    assert source.copied
    video, audio = drain(source)
    assert source.codec == "h264"
    assert len(video) == 60
    assert 95 <= len(audio) <= 105
    assert video[0].data.startswith(b"\0\0\0\1")


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_webm_is_copied(tmp_path: Path, codec: str) -> None:
    path = film(tmp_path / "film.webm", "-c:v", codec, "-c:a", "libopus")
    source = File(path, Picture(), codec=None)
    assert source.copied
    assert source.codec == {"libvpx": "vp8", "libvpx-vp9": "vp9"}[codec]
    assert len(drain(source)[0]) == 60


def test_b_frames_are_encoded_again(tmp_path: Path) -> None:
    path = film(tmp_path / "b.mp4", "-c:v", "libx264", "-bf", "3", "-c:a", "aac")
    source = File(path, Picture(), codec=None)
    assert not source.copied
    video, audio = drain(source)
    assert len(video) == 60
    assert all(a.pts < b.pts for a, b in pairwise(video))
    assert len(audio) >= 95


def test_codec_that_is_asked_for_is_made(tmp_path: Path) -> None:
    path = film(tmp_path / "fits.mkv", "-c:v", "libx264", "-bf", "0", "-c:a", "libopus")
    source = File(path, Picture("vp8"), codec="vp8")
    assert (source.copied, source.codec) == (False, "vp8")
    assert len(drain(source)[0]) == 60


def test_loop_goes_on_without_a_step_back(tmp_path: Path) -> None:
    path = film(tmp_path / "fits.mkv", "-c:v", "libx264", "-bf", "0", "-c:a", "aac")
    video, audio = drain(File(path, Picture(), codec=None, loop=True), 3 * SECONDS)
    for frames in (video, audio):
        assert frames[-1].due > 2.8 * SECONDS
        assert all(a.pts < b.pts for a, b in pairwise(frames))


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    path = film(tmp_path / "fits.mkv", "-c:v", "libx264", "-bf", "0", "-c:a", "aac")
    source = File(path, Picture(), codec=None, audio=False)
    assert not source.audio
    assert drain(source)[1] == []


def test_what_is_no_media_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no film")
    with pytest.raises(SourceError, match=r"notes\.txt cannot be read"):
        File(path, Picture(), codec=None)
