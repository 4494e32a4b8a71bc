"""What a viewer waits and what a viewer costs, measured on a real server; see README.md."""
