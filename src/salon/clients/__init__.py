"""Floor 5: stand-alone clients. They know the wire and nothing of rooms, models or stores.

`salon.clients.call` places calls and joins rooms over WebSocket (extra "client").
"""
