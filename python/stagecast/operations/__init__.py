"""For whoever operates the server: health, readiness, metrics."""
