"""Bytes from anywhere: whole messages are found among noise, nothing raises, and the autopilot goes on."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import STEP_NS, Bench

from aerialworld_core.mavlink.wire import INBOX, Decoder, Encoder, Message, dialect

WORDS = dialect()
#: Every message that the autopilot handles.
HANDLED = (
    "HEARTBEAT COMMAND_LONG COMMAND_INT SET_MODE PARAM_REQUEST_LIST PARAM_REQUEST_READ PARAM_SET "
    "SET_POSITION_TARGET_LOCAL_NED SET_POSITION_TARGET_GLOBAL_INT REQUEST_DATA_STREAM TIMESYNC RC_CHANNELS_OVERRIDE "
    "MANUAL_CONTROL MISSION_COUNT MISSION_ITEM_INT MISSION_ITEM MISSION_WRITE_PARTIAL_LIST MISSION_REQUEST_LIST "
    "MISSION_REQUEST_INT MISSION_REQUEST MISSION_CLEAR_ALL MISSION_SET_CURRENT MISSION_ACK"
).split()


def frame(message: Any, system: int = 255, seq: int = 0) -> bytes:
    link = WORDS.MAVLink(None, srcSystem=system, srcComponent=190)
    link.seq = seq
    return bytes(message.pack(link))


def beat(seq: int = 0) -> bytes:
    return frame(WORDS.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3), seq=seq)


def of_payload(name: str, payload: bytes, system: int = 255) -> bytes:
    """A correct frame of a message type with any payload."""
    made = WORDS.mavlink_map[getattr(WORDS, f"MAVLINK_MSG_ID_{name}")]
    body = payload[: made.unpacker.size].ljust(made.unpacker.size, b"\x00")
    number = made.id.to_bytes(3, "little")
    head = bytes([0xFD, len(body), 0, 0, 0, system, 190]) + number
    crc = WORDS.x25crc(head[1:] + body + bytes([made.crc_extra])).crc
    return head + body + crc.to_bytes(2, "little")


def test_messages_are_found_in_pieces_and_between_noise() -> None:
    decoder, stream = Decoder(), b"".join(b"\xfd\xfe noise \x00" + beat(i) for i in range(50))
    found = []
    for i in range(0, len(stream), 7):
        decoder.feed(stream[i : i + 7])
        found += decoder.take(100)[0]
    assert [m.get_seq() for m in found] == list(range(50))


def test_a_wrong_checksum_costs_only_its_own_frame() -> None:
    broken = bytearray(beat())
    broken[-1] ^= 1
    decoder = Decoder()
    decoder.feed(bytes(broken) + beat(1))
    messages, _ = decoder.take(100)
    assert [m.get_seq() for m in messages] == [1]
    assert decoder.bad_frames >= 1


def test_a_truncated_frame_does_not_hold_up_what_follows() -> None:
    decoder = Decoder()
    decoder.feed(beat(0)[:-4])
    assert decoder.take(100)[0] == []
    decoder.feed(beat(1) + beat(2))
    assert [m.get_seq() for m in decoder.take(100)[0]] == [1, 2]


def test_mavlink_1_and_signed_frames_are_read() -> None:
    old = WORDS.MAVLink(None, srcSystem=255)
    message = WORDS.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3)
    signed = WORDS.MAVLink(None, srcSystem=255)
    signed.signing.secret_key, signed.signing.sign_outgoing = b"k" * 32, True
    decoder = Decoder()
    decoder.feed(bytes(message.pack(old, force_mavlink1=True)) + bytes(message.pack(signed)))
    assert [m.get_type() for m in decoder.take(100)[0]] == ["HEARTBEAT", "HEARTBEAT"]


def test_work_and_memory_are_bounded() -> None:
    decoder = Decoder()
    decoder.feed(b"\xfd" * (INBOX * 2))
    assert decoder.room() == 0
    found, left = decoder.take(30)
    assert (found, left) == ([], 0)
    assert decoder.room() == 30


def test_what_is_sent_is_read_by_the_library() -> None:
    encoder, library = Encoder(7, 1), WORDS.MAVLink(None)
    data = b"".join(encoder.frame(Message("statustext", {"severity": 6, "text": b"hello"})) for _ in range(300))
    seen = library.parse_buffer(data)
    assert [m.get_seq() for m in seen] == [i % 256 for i in range(300)]
    assert {(m.get_srcSystem(), m.get_srcComponent(), m.text) for m in seen} == {(7, 1, "hello")}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=8))
def test_noise_never_raises_and_never_hides_a_message_for_ever(pieces: list[bytes]) -> None:
    decoder = Decoder()
    for piece in pieces:
        decoder.feed(piece)
        decoder.take(50)
    # Whatever the noise ended in, after one longest frame of quiet messages are read again.
    decoder.feed(beat(1) * 20)
    found: list[Any] = []
    for _ in range(100):
        found += decoder.take(100)[0]
    assert len([m for m in found if m.get_type() == "HEARTBEAT"]) >= 1


@pytest.fixture(scope="module")
def flying() -> dict[str, Bench]:
    copter = Bench().flying(20.0)
    rover = Bench("rover").ready()
    rover.result(176, 1, 15)
    rover.result(400, 1)
    return {"drone": copter, "rover": rover}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["drone", "rover"]), st.sampled_from(HANDLED), st.binary(max_size=255), st.booleans())
def test_any_payload_of_any_handled_message_is_survived(
    flying: dict[str, Bench], kind: str, name: str, payload: bytes, for_us: bool
) -> None:
    bench = flying[kind]
    data = bytearray(payload.ljust(255, b"\x00"))
    made = WORDS.mavlink_map[getattr(WORDS, f"MAVLINK_MSG_ID_{name}")]
    if for_us and "target_system" in made.fieldnames:
        # Wire order: find where the target's byte lies.
        at = sum(WORDS.struct.calcsize("<" + c) for c in _before_target(made))
        data[at] = 1
    bench.channel.receive(of_payload(name, bytes(data)))
    bench.step()
    bench.step()


def _before_target(made: Any) -> list[str]:
    """Formats of the fields that lie before target_system on the wire."""
    sizes = [f"{length}{code}" if length else code for code, length in _wire_fields(made)]
    return sizes[: made.ordered_fieldnames.index("target_system")]


def _wire_fields(made: Any) -> list[tuple[str, int]]:
    codes = {"uint8_t": "B", "int8_t": "b", "uint16_t": "H", "int16_t": "h", "uint32_t": "I", "int32_t": "i"}
    codes |= {"uint64_t": "Q", "int64_t": "q", "float": "f", "double": "d", "char": "s"}
    types = dict(zip(made.fieldnames, made.fieldtypes, strict=True))
    lengths = dict(zip(made.ordered_fieldnames, made.array_lengths, strict=True))
    return [(codes[types[name]], lengths[name]) for name in made.ordered_fieldnames]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["drone", "rover"]), st.binary(max_size=600))
def test_random_bytes_are_survived_in_flight(flying: dict[str, Bench], kind: str, data: bytes) -> None:
    bench = flying[kind]
    bench.channel.receive(data)
    bench.step()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["drone", "rover"]),
    st.integers(0, 65535) | st.sampled_from([16, 22, 115, 176, 178, 179, 192, 193, 195, 224, 300, 400, 511, 512]),
    st.lists(st.floats(width=32), min_size=7, max_size=7),
    st.booleans(),
)
def test_any_command_gets_one_acknowledgement(
    flying: dict[str, Bench], kind: str, number: int, values: list[float], whole: bool
) -> None:
    bench = flying[kind]
    if whole:
        message = WORDS.MAVLink_command_int_message(1, 1, 6, number, 0, 0, *values[:4], 2**31 - 1, -(2**31), values[6])
    else:
        message = WORDS.MAVLink_command_long_message(1, 1, number, 0, *values)
    bench.run(0.05)
    bench.channel.receive(frame(message))
    bench.autopilot.advance(STEP_NS)
    said = bench._decoder.parse_buffer(bench.channel.take_all()) or []
    acks = [m for m in said if m.get_type() == "COMMAND_ACK"]
    assert [(m.command, m.target_system, m.target_component) for m in acks] == [(number, 255, 190)]
    assert acks[0].result in (0, 1, 2, 3, 4)


def test_without_the_library_the_error_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['pymavlink'] = None\n"
        "from aerialworld_core.frames import Georeference\n"
        "from aerialworld_core.errors import MavlinkError\n"
        "from aerialworld_sim.autopilot import Autopilot, Settings\n"
        "from aerialworld_sim.vehicles.rover import Rover\n"
        "try:\n    Autopilot(Rover(), Settings('rover', Georeference(0, 0, 0)))\n"
        "except MavlinkError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "pip install 'aerialworld_core[mavlink]'" in done.stdout, done.stderr
