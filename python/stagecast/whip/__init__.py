"""WHIP (RFC 9725) in, WHEP (draft-ietf-wish-whep) out: the HTTP signalling of WebRTC."""
