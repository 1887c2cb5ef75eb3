"""The REST door: HTTP/1.1 and WebSocket on uvicorn, described by FastAPI, in front of the service."""
