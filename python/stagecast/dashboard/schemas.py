"""JSON of the server's facts and of the dashboard's events."""

from pydantic import Field

from stagecast.kit.schema import Schema


class IceServerInfo(Schema):
    """One entry for `RTCPeerConnection`'s `iceServers`."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class ServerInfo(Schema):
    """The server as its users address it."""

    version: str
    account_id: str
    app_id: str = Field(
        description="The account's oldest app, whose livestreams the dashboard shows."
    )
    public_url: str = Field(description="Base address, without a slash at the end.")
    whip_url: str = Field(description="Publish here: `{whipUrl}/{streamName}`.")
    whep_url: str = Field(description="Watch here: `{whepUrl}/{streamName}`.")
    viewer_url: str = Field(
        description="Hosted player: `{viewerUrl}?streamId={accountId}/{streamName}`."
    )
    media_port: int = Field(description="UDP and TCP port of WebRTC media.")
    ice_servers: list[IceServerInfo]
