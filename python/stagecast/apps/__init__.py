"""Apps of the RealtimeKit-shaped API: what groups livestreams, and who may call on their behalf."""
