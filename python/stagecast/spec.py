"""``python -m stagecast.spec`` prints the OpenAPI document, the same bytes for the same code.

``spec/openapi.json`` is its committed copy: the web apps' types are generated from it, and a test compares
it with the code.
"""

import json
import sys
from typing import Any

from stagecast.app import create_app
from stagecast.settings import Settings
from stagecast.streams.schemas import FiguresEvent, HelloEvent, TokenEvent

_EVENT_MODELS = (HelloEvent, FiguresEvent, TokenEvent)


def document() -> dict[str, Any]:
    """The OpenAPI document, with the models of server-sent events that no JSON response names."""
    spec = create_app(Settings()).openapi()
    spec["info"]["version"] = "1"
    schemas: dict[str, Any] = spec["components"]["schemas"]
    for model in _EVENT_MODELS:
        shape = model.model_json_schema(
            mode="serialization", ref_template="#/components/schemas/{model}"
        )
        schemas.update(shape.pop("$defs", {}))
        schemas[model.__name__] = shape
    spec["components"]["schemas"] = dict(sorted(schemas.items()))
    spec["paths"] = dict(sorted(spec["paths"].items()))
    return spec


def render() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
