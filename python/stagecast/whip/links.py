"""``Link`` headers: ICE servers (RFC 9725 §4.6) and the extensions for events and layers."""

from stagecast.settings import IceServer

SSE_REL = "urn:ietf:params:whep:ext:core:server-sent-events"
SSE_EVENTS = ("active", "inactive", "layers", "viewercount")
PUBLISHER_EVENTS = (*SSE_EVENTS, "wantedlayers")
LAYER_REL = "urn:ietf:params:whep:ext:core:layer"


def ice_links(servers: list[IceServer]) -> list[str]:
    links: list[str] = []
    for server in servers:
        for url in server.urls:
            link = f'<{url}>; rel="ice-server"'
            if server.username is not None and server.credential is not None:
                username, credential = (
                    _quoted(server.username),
                    _quoted(server.credential.get_secret_value()),
                )
                link += f'; username="{username}"; credential="{credential}"; credential-type="password"'
            links.append(link)
    return links


def sse_link(session_url: str, events: tuple[str, ...]) -> str:
    return f'<{session_url}/sse>; rel="{SSE_REL}"; events="{",".join(events)}"'


def layer_link(session_url: str) -> str:
    return f'<{session_url}/layer>; rel="{LAYER_REL}"'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
