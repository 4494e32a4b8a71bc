"""The committed OpenAPI document is what the code says; web types are generated from it."""

import json
from pathlib import Path

from stagecast.spec import document, render

COMMITTED = Path(__file__).parents[2] / "spec" / "openapi.json"


def test_committed_document_is_what_the_code_says() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == render(), "run make gen"


def test_document_is_the_same_every_time() -> None:
    assert render() == render()


def test_every_reference_leads_somewhere() -> None:
    spec = document()
    schemas = spec["components"]["schemas"]
    prefix = "#/components/schemas/"
    text = json.dumps(spec)
    named = {part.split('"')[0] for part in text.split(f'"$ref": "{prefix}')[1:]}
    assert named <= set(schemas)
    assert not {name for name in schemas if name.endswith(("-Input", "-Output"))}
