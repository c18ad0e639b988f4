"""Calls under outside control: the call protocol, its sessions and its records."""

from salon.gateway.bus import EventBus, get_event_bus, install_event_bus
from salon.gateway.commands import COMMAND_TYPES, Command, HangupReason, parse_command
from salon.gateway.endpoints import SOCKET_ENDPOINT, SOCKET_ENDPOINTS, Endpoint, Endpoints
from salon.gateway.errors import CommandError, QueryError
from salon.gateway.events import EVENT_TYPES, Event, parse_event
from salon.gateway.gateway import Gateway
from salon.gateway.handlers import CallHandler, ControllerHandler
from salon.gateway.options import CallOption
from salon.gateway.query import CallQuery
from salon.gateway.schema import call_protocol_schema
from salon.gateway.services import SessionServices
from salon.gateway.session import Session
from salon.gateway.state import SessionState
from salon.gateway.transports import BaseTransport, EventTransport, SocketTransport
from salon.gateway.webrtc import WebRtcCalls, WebRtcTransport

__all__ = [
    "COMMAND_TYPES",
    "EVENT_TYPES",
    "SOCKET_ENDPOINT",
    "SOCKET_ENDPOINTS",
    "BaseTransport",
    "CallHandler",
    "CallOption",
    "CallQuery",
    "Command",
    "CommandError",
    "ControllerHandler",
    "Endpoint",
    "Endpoints",
    "Event",
    "EventBus",
    "EventTransport",
    "Gateway",
    "HangupReason",
    "QueryError",
    "Session",
    "SessionServices",
    "SessionState",
    "SocketTransport",
    "WebRtcCalls",
    "WebRtcTransport",
    "call_protocol_schema",
    "get_event_bus",
    "install_event_bus",
    "parse_command",
    "parse_event",
]
