"""Why a method or a parameter of RoomKit's kit is not there."""

from __future__ import annotations

CALLS = "calls are held through [the call protocol](../reference/call-protocol.md), not the kit"
VIDEO = "no video"
RECORDING = "calls record themselves: see [recordings](recordings-and-transcripts.md)"
ORCHESTRATION = "no orchestration strategies"
DELEGATION = "no delegation of tasks to agents, nor background work of theirs"
DISCUSSION = "no discussions with a queue of speakers"
DELIVERY = "no delivery strategies: `send_event` and `process_inbound` deliver at once"
EXECUTORS = "agents run in the process of the kit"
STEERING = "a turn of an agent that runs cannot be steered"
VERIFICATION = "no verification of identities by secrets"
HOST = "no host channel: register a channel of yours and use `send_event`"
MEDIA = "media are URLs, which agents are told of in words"
HUMAN = "the `HumanInputHandler` that an agent was given has `resolve` and `reject`"

METHODS: dict[str, str] = {
    **dict.fromkeys(
        (
            "send_greeting",
            "stt",
            "synthesize",
            "transcribe",
            "tts",
            "voice",
        ),
        CALLS,
    ),
    **dict.fromkeys(("connect_video", "disconnect_video"), VIDEO),
    **dict.fromkeys(
        (
            "add_room_recording_track",
            "room_recordings",
            "start_room_recording",
            "stop_room_recording",
        ),
        RECORDING,
    ),
    **dict.fromkeys(
        (
            "claim_room_strategy",
            "install_strategy",
            "room_strategy",
            "room_strategy_is_current",
            "uninstall_strategy",
        ),
        ORCHESTRATION,
    ),
    **dict.fromkeys(
        (
            "cancel_task",
            "delegate",
            "setup_background",
            "setup_task_tools",
            "start_task",
            "status_bus",
            "task_runner",
        ),
        DELEGATION,
    ),
    **dict.fromkeys(("listen_only", "speak_queue", "talk_again"), DISCUSSION),
    **dict.fromkeys(("cancel_delivery", "deliver", "delivery_backend"), DELIVERY),
    **dict.fromkeys(
        (
            "check_verifications",
            "complete_verification",
            "record_failed_attempt",
            "request_verification",
            "revoke_verification",
            "sender_verification",
            "verification_of",
        ),
        VERIFICATION,
    ),
    **dict.fromkeys(("answer_input", "reject_input"), HUMAN),
    "channel_call": "no channel keeps state of a room that a host changes by a verb",
    "commit_event": "what is in a timeline went through its gates or is a record of the framework, "
    "and counts as activity: `send_event` or `record`",
    "post": HOST,
    "steer": STEERING,
}

PARAMETERS: dict[tuple[str, str], str] = {
    ("connect_voice", "auto_greet"): "no greetings by themselves: `send_event` or `say`",
    **dict.fromkeys((("__init__", "stt"), ("__init__", "tts"), ("__init__", "voice")), CALLS),
    **dict.fromkeys((("__init__", "task_runner"), ("__init__", "status_bus")), DELEGATION),
    **dict.fromkeys(
        (("__init__", "delivery_strategy"), ("__init__", "delivery_backend")), DELIVERY
    ),
    **dict.fromkeys(
        (("__init__", "orchestration"), ("create_room", "orchestration")), ORCHESTRATION
    ),
    **dict.fromkeys((("__init__", "turn_backend"), ("__init__", "error_classes")), EXECUTORS),
    **dict.fromkeys((("__init__", "media_resolver"), ("__init__", "attached_media")), MEDIA),
    **dict.fromkeys(
        (("__init__", "delivery_gap_timeout"), ("__init__", "delivery_claim_lock_manager")),
        "one process delivers for a room: `resume_deliveries` plans what a crash left",
    ),
    ("__init__", "verification_policy"): VERIFICATION,
    ("attach_channel", "**kwargs"): "the fields of a binding are parameters with names",
    ("create_room", "recorders"): RECORDING,
    ("send_event", "standalone"): "no events of type `INSTRUCTION`",
}
