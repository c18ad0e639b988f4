"""What a call is given when it asks for it: a recogniser, a recorder. Not having one is told, and
the call goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salon.base import SalonError
from salon.gateway.options import CallOption
from salon.gateway.rights import permitted
from salon.voice.stt.base import SpeechToText

if TYPE_CHECKING:
    from salon.gateway.session import Session


def recognizer_for(session: Session, option: CallOption, *, always: bool) -> SpeechToText | None:
    """The engine the `asr` option asks for; without that option the default one if `always`. One
    that is not known is replaced by the default, and that is told (G62, G64)."""
    asr = option.asr
    if asr is None and not always:
        return None
    ears = session.services.ears
    try:
        found = ears.recognizer(asr)
    except SalonError as error:
        session.error("asr", str(error))
        return None
    if asr is not None and asr.provider and not ears.knows(asr.provider):
        session.error("asr", f"recogniser {asr.provider!r} is not known, {found.name} is used")
    return found


def start_recorder(session: Session, option: CallOption) -> None:
    """Record from now on, if that is set up or asked for."""
    allowed, _ = permitted(option, session.rights)
    try:
        recorder = session.services.recorder_for(session, allowed)
    except SalonError as error:
        session.error("recorder", str(error))
        return
    if recorder is not None:
        session.media.recorder = recorder
    elif option.recorder is not None:
        session.error("recorder", "recording is not available here")
