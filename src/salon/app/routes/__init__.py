"""The HTTP and WebSocket routes, one file per subject; each makes one router."""
