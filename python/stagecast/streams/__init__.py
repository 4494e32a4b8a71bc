"""Live streams: who publishes, who watches, and what the last hour looked like."""
