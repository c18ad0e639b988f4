"""Sound in, keyframes out, interruptions (chapters 5 to 7 and 13)."""

from __future__ import annotations

import struct

import pytest
from tests.conformance.avatarkit.server_stage import (
    CONNECTION,
    OTHER,
    RATE,
    REQ,
    Peer,
    audio,
    interrupt,
    pcm,
    started,
)

from salon.clients.avatarkit.proto.generated import message_pb2 as pb
from salon.testing.avatar import AVATAR_ID, AnimationFault, AvatarSettings, wire
from salon.testing.avatar.settings import PCM_RATES

MIB = 1 << 20


def spoken(peer: Peer, sound: bytes, piece: int | None = None, req_id: str = REQ) -> Peer:
    """A whole request, in pieces of so many bytes; the server does its work after each."""
    size = piece or max(1, len(sound))
    for at in range(0, len(sound), size):
        peer.say(audio(sound[at : at + size], req_id))
        peer.work()
    peer.say(audio(b"", req_id, end=True))
    peer.work()
    return peer


@pytest.mark.parametrize("rate", PCM_RATES)
@pytest.mark.parametrize("seconds", [0.0, 0.039, 0.04, 1.0, 3.685])
def test_A52_T7_25_keyframes_a_second_however_the_sound_is_cut(rate: int, seconds: float) -> None:
    sound = pcm(seconds, rate)
    expected = len(sound) // 2 * 25 // rate
    whole = spoken(started(sample_rate=rate), sound).keyframes()
    pieces = spoken(started(sample_rate=rate), sound, rate // 50 * 2).keyframes()
    odd = spoken(started(sample_rate=rate), sound, 4001).keyframes()
    assert len(whole) == expected
    assert whole == pieces == odd


def test_A52_3685_milliseconds_are_92_keyframes() -> None:
    assert len(spoken(started(), pcm(3.685)).keyframes()) == 92


def test_A41_odd_pieces_carry_a_byte_over() -> None:
    sound = pcm(0.2)
    assert spoken(started(), sound, 1).keyframes() == spoken(started(), sound).keyframes()


def test_A121_the_jaw_follows_the_loudness() -> None:
    peer = spoken(started(), bytes(RATE) + pcm(1.0, loud=20_000) + bytes(RATE))
    jaws = [one.jaw_pose[0] for said in peer.answers() for one in said.animation.keyframes]
    assert max(jaws[:12]) == 0.0
    assert max(jaws[13:36]) > 0.04
    assert jaws[-1] < 0.01
    assert all(0.0 <= one <= 0.0741 for one in jaws)


def test_A53_a_keyframe_has_the_fields_of_the_recordings() -> None:
    peer = spoken(started(AvatarSettings(extension=False)), pcm(0.04))
    flame = peer.answers()[0].animation.keyframes[0]
    sizes = [
        len(field)
        for field in (
            flame.translation,
            flame.rotation,
            flame.neck_pose,
            flame.jaw_pose,
            flame.eye_pose,
            flame.eye_lid,
            flame.expression,
        )
    ]
    assert sizes == [3, 3, 3, 3, 6, 2, 100]
    assert len(flame.SerializeToString()) == 495
    assert set(flame.expression) == {0.0}


def test_A50_ids_are_echoed() -> None:
    for one in spoken(started(), pcm(1.0)).answers():
        assert (one.connection_id, one.req_id) == (CONNECTION, REQ)
        assert one.avatar_id == AVATAR_ID or not one.animation.keyframes


def test_A50_nothing_goes_out_before_the_first_sound() -> None:
    peer = started()
    peer.work(until=100.0)
    assert peer.sent == []


def test_A53_T8_batches_are_small_and_two_minutes_stay_below_a_mebibyte() -> None:
    peer = started()
    peer.say(audio(pcm(120.0), end=True))
    peer.work()
    assert len(peer.keyframes()) == 3000
    assert max(len(one.animation.keyframes) for one in peer.answers()) == 25
    assert peer.record.largest_message == max(map(len, peer.sent)) < MIB // 4


def test_A18_the_limit_can_be_broken_on_purpose() -> None:
    peer = started()
    peer.faults.animation = AnimationFault(batch_frames=2200)
    peer.say(audio(pcm(120.0), end=True))
    peer.work()
    assert max(map(len, peer.sent)) > MIB
    assert len(peer.keyframes()) == 3000
    assert peer.ends() == 1


def test_A54_one_end_the_last_message_and_only_after_the_clients() -> None:
    peer = started()
    peer.say(audio(pcm(1.0)))
    peer.work(until=60.0)
    assert len(peer.keyframes()) == 25
    assert peer.ends() == 0
    peer.say(audio(b"", end=True))
    peer.work()
    assert [one.end for one in peer.answers()].count(True) == 1
    assert peer.answers()[-1].end


def test_A46_T6_an_empty_request_is_answered() -> None:
    peer = started()
    peer.say(audio(b"", end=True))
    peer.work()
    assert peer.sent == [wire.signal(CONNECTION, REQ, end=True)]


def test_A49_T6_two_queued_requests_keep_order_and_ids_apart() -> None:
    peer = started()
    peer.say(audio(pcm(2.0), REQ, end=True))
    peer.say(audio(pcm(1.0), OTHER, end=True))
    peer.work()
    order = [one.req_id for one in peer.answers()]
    assert order == [REQ] * 2 + [OTHER]
    assert (len(peer.keyframes(REQ)), len(peer.keyframes(OTHER))) == (50, 25)
    assert (peer.ends(REQ), peer.ends(OTHER)) == (1, 1)


def test_A49_a_new_id_ends_the_request_before() -> None:
    peer = started()
    peer.say(audio(pcm(1.0), REQ))
    peer.say(audio(pcm(0.4), OTHER, end=True))
    peer.work()
    assert (len(peer.keyframes(REQ)), peer.ends(REQ)) == (25, 1)
    assert (len(peer.keyframes(OTHER)), peer.ends(OTHER)) == (10, 1)


@pytest.mark.parametrize("worked", [False, True])
def test_A49_sound_after_the_end_is_ignored(worked: bool) -> None:
    peer = started()
    peer.say(audio(pcm(1.0), end=True))
    if worked:
        peer.work()
    peer.say(audio(pcm(1.0)))
    peer.say(audio(b"", end=True))
    peer.work()
    assert (len(peer.keyframes()), peer.ends()) == (25, 1)


def test_A44_T5_ids_are_opaque() -> None:
    peer = spoken(started(), pcm(0.4), req_id="any id at all / ü")
    assert len(peer.keyframes("any id at all / ü")) == 10


def test_A55_keyframes_go_out_as_soon_as_their_sound_is_there() -> None:
    peer = started()
    for number in range(50):
        peer.say(audio(pcm(0.02)))
        peer.work()
        assert len(peer.keyframes()) == (number + 1) // 2


def test_A55_a_pace_holds_keyframes_back() -> None:
    peer = started(AvatarSettings(pace=1.0))
    peer.say(audio(pcm(2.0), end=True))
    peer.work(until=1.001)
    assert len(peer.keyframes()) == 25
    peer.work()
    assert len(peer.keyframes()) == 50
    assert peer.now == pytest.approx(2.0)


@pytest.mark.parametrize("ended", [False, True])
def test_A59_A60_T9_no_keyframes_after_an_interrupt_and_one_end(ended: bool) -> None:
    peer = started(AvatarSettings(pace=1.0))
    peer.say(audio(pcm(10.0), end=ended))
    peer.work(until=2.0)
    before = len(peer.keyframes())
    assert 0 < before < 60
    peer.say(interrupt())
    assert peer.sent[-1] == wire.signal(CONNECTION, REQ, end=True)
    peer.say(interrupt())
    peer.say(audio(pcm(1.0)))
    peer.work(until=60.0)
    assert (len(peer.keyframes()), peer.ends()) == (before, 1)
    assert peer.record.requests[REQ].interrupted


def test_A59_T9_unknown_and_finished_ids_are_ignored() -> None:
    peer = spoken(started(), pcm(0.4))
    before = len(peer.sent)
    peer.say(interrupt("nobody"))
    peer.say(interrupt(REQ))
    peer.work(until=10.0)
    assert len(peer.sent) == before
    assert peer.closed is None


def test_A57_T5_a_request_after_an_interrupt_is_answered() -> None:
    peer = started(AvatarSettings(pace=10.0))
    peer.say(audio(pcm(4.0)))
    peer.say(interrupt())
    spoken(peer, pcm(0.4), req_id=OTHER)
    assert (len(peer.keyframes(OTHER)), peer.ends(OTHER)) == (10, 1)


def test_A59_an_interrupt_spares_the_other_requests() -> None:
    peer = started(AvatarSettings(pace=10.0))
    peer.say(audio(pcm(1.0), REQ, end=True))
    peer.say(audio(pcm(1.0), OTHER, end=True))
    peer.say(interrupt(OTHER))
    peer.work()
    assert (len(peer.keyframes(REQ)), len(peer.keyframes(OTHER))) == (25, 0)
    assert (peer.ends(REQ), peer.ends(OTHER)) == (1, 1)


def test_A122_T16_the_open_form_beside_flame() -> None:
    said = spoken(started(), pcm(2.0), 6400).answers()
    shapes = [one.blendshapes for one in said if one.animation.keyframes]
    assert {(one.schema, one.fps) for one in shapes} == {("arkit-52", 25.0)}
    assert [len(one.names) for one in shapes] == [52] + [0] * (len(shapes) - 1)
    assert [one.first_index for one in shapes] == list(range(0, 50, 5))
    assert [len(one.frames) for one in shapes] == [5] * 10
    for one in shapes:
        for frame in one.frames:
            assert len(frame.weights) == 52
            assert len(frame.head) == 3
            assert all(0.0 <= weight <= 1.0 for weight in frame.weights)
    assert {viseme.id for one in shapes for viseme in one.visemes} == {"aa"}


def test_A122_T16_published_schemas_do_not_see_it_and_keep_its_bytes() -> None:
    data = next(iter(spoken(started(), pcm(0.04)).sent))
    message = pb.Message.FromString(data)
    assert message.server_response_animation.req_id == REQ
    assert sorted(message.SerializeToString()) == sorted(data)
    tag = struct.pack("<BB", 0xC2, 0x3E)  # field 1000, length-delimited
    assert tag in data


def test_A121_the_extension_can_be_left_out() -> None:
    peer = spoken(started(AvatarSettings(extension=False)), pcm(0.4))
    assert not any(one.HasField("blendshapes") for one in peer.answers())


def test_A69_the_meter() -> None:
    record = spoken(started(), pcm(1.5)).record.requests[REQ]
    assert record.audio_s == pytest.approx(1.5)
    assert (record.audio_bytes, record.keyframes, record.ended) == (48_000, 37, True)
