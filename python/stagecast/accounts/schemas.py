"""JSON of logging in, of API secrets and of API tokens."""

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from stagecast.kit.clock import Timestamp
from stagecast.kit.schema import Schema

Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Login(Schema):
    email: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=254)]
    password: Password


class PasswordChange(Schema):
    current_password: Password
    new_password: Password


class SessionUser(Schema):
    """The person behind the dashboard's cookie."""

    id: int
    email: str
    role: Literal["admin"] = Field(description="What the person may do; admins may do everything.")
    account_id: str = Field(description="First part of every stream id of this account.")
    must_change_password: bool = Field(
        description="A one-time password is still in use: every other call answers 403 until it is changed."
    )


class Session(Schema):
    user: SessionUser
    csrf_token: str = Field(
        description="Send as `X-CSRF-Token` with every call that is not a GET and uses the cookie."
    )


class SecretCreate(Schema):
    label: Label = Field(description="What the secret is for.")


class Secret(Schema):
    """An API secret without the secret itself, which is shown only once."""

    id: int
    label: str
    prefix: str = Field(description="The first characters of the secret, to recognise it by.")
    added_on: Timestamp
    last_used_on: Timestamp | None = Field(
        description="Last use, to the minute; null when never used."
    )


class SecretCreated(Secret):
    secret: str = Field(description="The API secret. It cannot be read again: store it now.")


Scope = Literal["apps:read", "apps:write", "livestreams:read", "livestreams:write"]
ALL_SCOPES: tuple[Scope, ...] = get_args(Scope)


class ApiTokenCreate(Schema):
    label: Label = Field(description="What the token is for.")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(ALL_SCOPES))] = Field(
        default=list(ALL_SCOPES),
        description="What it may do; a right to write includes the right to read. Left out: everything.",
    )


class ApiToken(Schema):
    """An API token without the token itself, which is shown only once."""

    id: int
    label: str
    prefix: str = Field(description="The first characters of the token, to recognise it by.")
    scopes: list[Scope]
    added_on: Timestamp
    last_used_on: Timestamp | None = Field(
        description="Last use, to the minute; null when never used."
    )


class ApiTokenCreated(ApiToken):
    token: str = Field(description="The API token. It cannot be read again: store it now.")
