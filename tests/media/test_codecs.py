"""What is published is what is seen, for every codec; and what cannot be shown is refused."""

from __future__ import annotations

import pytest

from stagecast import _core
from stagecast.media.encoding import VIDEO_CODECS, VideoCodec
from tests.media.clips import Sender, clip
from tests.media.house import STREAM, House, receive, track, until


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_picture_and_sound_arrive_whole(house: House, codec: VideoCodec) -> None:
    published = clip(codec)
    with Sender(house.publisher(codecs=[codec]), published):
        house.live()
        viewer = house.viewer()
        seen = receive(viewer, lambda s: s.decoded >= 45 and len(s.audio) >= 50)
        assert {frame.codec for frame in seen.video} == {codec}
        assert set(seen.sizes) == {(published.width, published.height)}
        assert seen.video[0].keyframe
        assert all(frame.contiguous for frame in seen.video[1:])
        assert seen.errors == 0
        assert track(viewer)["packets_lost"] == 0
        sent = {frame.data for frame in published.frames if frame.kind == "audio"}
        assert {frame.data for frame in seen.audio} <= sent


def test_capture_time_reaches_the_viewer(house: House) -> None:
    with Sender(house.publisher(), clip()):
        house.live()
        seen = receive(house.viewer(), lambda s: len(s.video) >= 30)
    delays = [f.arrived - f.captured for f in seen.video[10:] if f.captured is not None]
    assert delays
    # The core maps capture times between clocks: to some milliseconds.
    assert -0.05 < sorted(delays)[len(delays) // 2] < 0.5


def test_codec_the_viewer_lacks_is_refused_by_name(house: House) -> None:
    with Sender(house.publisher(codecs=["vp8"]), clip("vp8")):
        house.live()
        viewer = house.client("watch", codecs=["h264"])
        with pytest.raises(_core.CoreError) as refused:
            house.engine.view(stream=STREAM, source=None, offer=viewer.offer)
        assert refused.value.code == "sdp.no_common_codec"
        assert "vp8" in refused.value.detail.lower()


def test_publisher_without_the_demanded_codec_is_refused(house: House) -> None:
    publisher = house.client("publish", codecs=["vp8"])
    with pytest.raises(_core.CoreError) as refused:
        house.engine.publish(stream=STREAM, source=None, offer=publisher.offer, codec="av1")
    assert refused.value.code == "sdp.no_common_codec"


def test_demanded_codec_is_the_one_negotiated(house: House) -> None:
    publisher = house.publisher(codecs=["vp8", "h264", "vp9"], codec="vp9")
    with Sender(publisher, clip("vp9")):
        house.event("source_live")
        # The source is told again when the first packet of another track comes.
        until("both tracks are told", lambda: _codecs(house) == {"audio": "opus", "video": "vp9"})
        seen = receive(house.viewer(), lambda s: s.decoded >= 10)
        assert seen.video[0].codec == "vp9"


def _codecs(house: House) -> dict[str, str]:
    house.take_events()
    live = [event for event in house.events if event["type"] == "source_live"]
    return {track["kind"]: track["codec"] for track in live[-1]["tracks"]}


def test_sound_alone_works(house: House) -> None:
    with Sender(house.publisher(video=False, codecs=[]), clip(), video=False):
        house.live()
        seen = receive(house.viewer(), lambda s: len(s.audio) >= 50)
        assert not seen.video


def test_picture_alone_works(house: House) -> None:
    with Sender(house.publisher(audio=False), clip(), audio=False):
        house.live()
        seen = receive(house.viewer(), lambda s: s.decoded >= 30)
        assert not seen.audio


def test_viewer_may_want_sound_only(house: House) -> None:
    with Sender(house.publisher(), clip()):
        house.live()
        seen = receive(house.viewer(video=False), lambda s: len(s.audio) >= 50)
        assert not seen.video


def test_viewer_of_a_silent_stream_is_told_it_is_not_live(house: House) -> None:
    viewer = house.client("watch")
    with pytest.raises(_core.CoreError) as refused:
        house.engine.view(stream=STREAM, source=None, offer=viewer.offer)
    assert refused.value.code == "stream.not_live"


def test_sources_of_one_stream_are_apart(house: House) -> None:
    main, side = clip(), clip(width=640, height=360)
    with Sender(house.publisher(), main), Sender(house.publisher(source="side"), side):
        house.live()
        house.live(source="side")
        first = receive(house.viewer(), lambda s: s.decoded >= 10)
        second = receive(house.viewer(source="side"), lambda s: s.decoded >= 10)
    assert set(first.sizes) == {(main.width, main.height)}
    assert set(second.sizes) == {(side.width, side.height)}
