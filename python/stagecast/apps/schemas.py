"""What all JSON of the RealtimeKit-shaped API has in common, and the JSON of apps.

Names are snake_case. A success is ``{"success": true, "data": …}``, a list has ``paging`` beside it. A refusal
carries both forms the original has used: ``error`` and ``errors``.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from stagecast.kit.clock import Timestamp

T = TypeVar("T")
PageNo = Annotated[int, Query(ge=0, le=1_000_000, description="From 1; 0 is the first page too.")]
PerPage = Annotated[int, Query(ge=0, le=1000)]


class RealtimeModel(BaseModel):
    """A JSON object of this API; unknown fields are refused."""

    model_config = ConfigDict(
        extra="forbid", from_attributes=True, json_schema_serialization_defaults_required=True
    )


class Paging(RealtimeModel):
    """Where a page is in the whole list; offsets count from 1, and are 0 on an empty page."""

    total_count: int
    start_offset: int
    end_offset: int


class Reply(RealtimeModel, Generic[T]):
    success: Literal[True] = True
    data: T

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        return f"{_type_name(params[0])}Reply"


class PagedReply(RealtimeModel, Generic[T]):
    success: Literal[True] = True
    data: T
    paging: Paging

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        return f"{_type_name(params[0])}PageReply"


class ErrorText(RealtimeModel):
    code: int = Field(description="The HTTP status.")
    message: str


class RealtimeRefusal(RealtimeModel):
    """Why a call was refused."""

    success: Literal[False] = False
    error: ErrorText
    errors: list[ErrorText]
    messages: list[str] = []
    result: None = None


class Page:
    """The part of a list a client asks for; page 0 is page 1."""

    def __init__(self, page_no: int, per_page: int) -> None:
        self.limit = per_page
        self.offset = (max(1, page_no) - 1) * per_page

    def paging(self, total: int, shown: int) -> Paging:
        start = self.offset + 1 if shown else 0
        return Paging(
            total_count=total, start_offset=start, end_offset=self.offset + shown if shown else 0
        )


AppName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128)]


class AppCreate(RealtimeModel):
    name: AppName = Field(description="Unique among the account's apps.")


class App(RealtimeModel):
    id: str
    name: str
    created_at: Timestamp


class AppCreated(RealtimeModel):
    app: App


def _type_name(param: Any) -> str:
    arguments = getattr(param, "__args__", None)
    return f"{arguments[0].__name__}List" if arguments else param.__name__


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {
        "model": RealtimeRefusal,
        "description": "The request is wrong; the message names the field.",
    },
    401: {"model": RealtimeRefusal, "description": "No or wrong credentials."},
    403: {"model": RealtimeRefusal, "description": "The token has no right to this."},
    404: {"model": RealtimeRefusal, "description": "There is no such thing."},
    409: {"model": RealtimeRefusal, "description": "Something else is in the way."},
    429: {"model": RealtimeRefusal, "description": "Too many requests; see `Retry-After`."},
    500: {"model": RealtimeRefusal, "description": "The server failed; its log has the details."},
}
