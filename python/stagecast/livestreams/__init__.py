"""Livestreams: streams with an ingest key and a playback address, their sessions, and who may come in."""
