"""Floor 6: what can join a room."""
