"""What the dashboard needs beyond the management API: facts about the server, and live events."""
