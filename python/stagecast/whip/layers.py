"""The layer extension of WHEP: what layers a stream has, and the one that a viewer asks for.

Names are those of the Millicast viewer events. An id of 255 means "none": the encoding has no such layers.
"""

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from stagecast.errors import Invalid
from stagecast.media.figures import LayerFigures, LevelFigures, SourceFigures

_NONE = 255
_MAX_BODY = 4096

LayerId = Annotated[int | None, Field(ge=0, le=255)]
Pixels = Annotated[int | None, Field(ge=0, le=65535)]


class LayerSelection(BaseModel):
    """A layer by name, or limits; nothing is automatic. A whole entry of the `layers` event will do."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", strict=True)

    media_id: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="The `mid` of the video; there is one, so it may be left out."
    )
    encoding_id: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="`id` of an encoding in the `layers` event."
    )
    spatial_layer_id: LayerId = None
    temporal_layer_id: LayerId = None
    max_spatial_layer_id: LayerId = None
    max_temporal_layer_id: LayerId = None
    max_width: Pixels = Field(default=None, description="Pixels; 0 is no limit.")
    max_height: Pixels = Field(default=None, description="Pixels; 0 is no limit.")
    max_bitrate: Annotated[int | None, Field(ge=0, le=10**12)] = Field(
        default=None, description="Bits a second; 0 is no limit."
    )


def read_selection(body: bytes) -> str:
    """A request's body as the media core takes it."""
    if len(body) > _MAX_BODY:
        raise Invalid(f"The body is longer than {_MAX_BODY} bytes.")
    try:
        wanted = LayerSelection.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"The layer is not valid: {where or 'body'}: {first['msg']}") from None
    chosen = wanted.model_dump(by_alias=True, exclude_none=True, exclude={"media_id"})
    return json.dumps(chosen)


def video_mid(sdp: str) -> str | None:
    """The `mid` of the accepted video line of an answer."""
    section = ""
    for line in sdp.splitlines():
        if line.startswith("m="):
            section = line
        elif line.startswith("a=mid:") and section.startswith("m=video "):
            rejected = section.split(" ", 2)[1] == "0"
            return None if rejected else line.removeprefix("a=mid:").strip()
    return None


def video_layers(figures: SourceFigures | None) -> dict[str, Any] | None:
    """What the `layers` event says of a source's video; None without video."""
    tracks = figures.tracks if figures else []
    layers = next((track.layers for track in tracks if track.kind == "video"), None)
    if layers is None:
        return None
    best_first = sorted(layers, key=_quality, reverse=True)
    numbered = list(zip(range(len(layers) - 1, -1, -1), best_first, strict=True))
    active = [(index, layer) for index, layer in numbered if layer.active]
    # What rests comes when it is chosen.
    may_be_had = [(index, layer) for index, layer in numbered if layer.active or layer.resting]
    return {
        "active": [_encoding(index, layer) for index, layer in active],
        "inactive": [
            _encoding(index, layer) if layer.resting else {"id": layer.layer}
            for index, layer in numbered
            if not layer.active
        ],
        "layers": [
            {"encodingId": layer.layer, **_level(index, level)}
            for index, layer in may_be_had
            for level in reversed(layer.levels)
        ],
    }


def _quality(layer: LayerFigures) -> tuple[int, float]:
    return layer.height or 0, layer.bitrate_bps


def _encoding(index: int, layer: LayerFigures) -> dict[str, Any]:
    return {
        "id": layer.layer,
        "simulcastIdx": index,
        "numPackets": layer.packets,
        "bitrate": round(layer.bitrate_bps),
        "totalBitrate": layer.levels[-1].bitrate_bps if layer.levels else round(layer.bitrate_bps),
        "width": layer.width,
        "height": layer.height,
        "fps": layer.fps,
        "layers": [_level(index, level) for level in reversed(layer.levels)],
    }


def _level(index: int, level: LevelFigures) -> dict[str, Any]:
    return {
        "simulcastIdx": index,
        "spatialLayerId": _NONE if level.spatial is None else level.spatial,
        "temporalLayerId": _NONE if level.temporal is None else level.temporal,
        "bitrate": level.bitrate_bps,
        "totalBitrate": level.bitrate_bps,
        "width": level.width,
        "height": level.height,
    }
