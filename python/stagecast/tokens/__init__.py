"""Publish and subscribe tokens: who may send media into a stream, and who may watch."""
