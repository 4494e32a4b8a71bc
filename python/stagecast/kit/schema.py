"""The shapes every JSON body shares: camelCase fields, the Millicast envelope, its failures, problem details."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

T = TypeVar("T")


class Schema(BaseModel):
    """A JSON object of the API: camelCase outside, snake_case inside, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        from_attributes=True,
        json_schema_serialization_defaults_required=True,
    )


class Success(Schema, Generic[T]):
    """What every successful call under ``/api`` answers."""

    status: Literal["success"] = "success"
    data: T

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        return f"Success{_type_name(params[0])}"


class FailData(Schema):
    """Why the request was refused. Some failures name their message by the field concerned instead."""

    model_config = ConfigDict(extra="allow")

    message: str | None = Field(default=None, description="What was wrong, for a person.")
    errors: dict[str, list[str]] | None = Field(
        default=None,
        description="For `Validation errors`: the field names and what is wrong with each.",
    )


class Fail(Schema):
    """The client can do something about it (4xx)."""

    status: Literal["fail"] = "fail"
    data: FailData


class Failure(Schema):
    """The server failed (5xx)."""

    status: Literal["error"] = "error"
    message: str
    code: int | None = None


class Problem(Schema):
    """Problem details (RFC 9457), outside ``/api``."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None


def _type_name(param: Any) -> str:
    arguments = getattr(param, "__args__", None)
    if getattr(param, "__origin__", None) is list and arguments:
        return f"{_type_name(arguments[0])}List"
    name = getattr(param, "__name__", str(param))
    return name[:1].upper() + name[1:]
