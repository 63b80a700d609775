"""Power loss: every state that a disk may be left in, by what was flushed when, is a valid session.

The calls of a recording are logged. After a cut at any call, a file's content is certain only if it was flushed, and a
new name only if its folder was flushed after the rename; everything else may or may not have reached the disk, torn or
whole, in any combination.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from aerialworld_core.session import Session, SessionWriter

FRAMES = 3


class Log:
    """Flushes, renames and returns of write_frame, in order."""

    def __init__(self, monkeypatch) -> None:
        self.events: list[tuple] = []
        real_fsync, real_replace = os.fsync, os.replace

        def fsync(descriptor):
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self.events.append(("folder", path) if path.is_dir() else ("flushed", path))
            real_fsync(descriptor)

        def replace(source, target):
            self.events.append(("rename", Path(source), Path(target), Path(source).read_bytes()))
            real_replace(source, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)


def crash_state(events, before, rng):
    """Name → content after a cut behind these events: one of the states that are possible."""
    flushed = {e[1] for e in events if e[0] == "flushed"}
    state = dict(before)
    for k, event in enumerate(events):
        if event[0] != "rename":
            continue
        _, source, target, content = event
        durable = any(e[0] == "folder" and e[1] == target.parent for e in events[k + 1 :])
        if not durable and rng.random() < 0.5:
            if rng.random() < 0.5:
                state[source] = content[: rng.randrange(len(content) + 1)]  # the temporary name instead
            continue
        state[target] = content if source in flushed else content[: rng.choice([0, 512, len(content) // 2])]
    return state


def states(tmp_path, monkeypatch, synthetic, recorded, per_cut):
    writer = SessionWriter(tmp_path / "live", synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE)
    before = {p: p.read_bytes() for p in writer.path.rglob("*") if p.is_file()}
    rng = random.Random(8)  # noqa: S311
    with monkeypatch.context() as patch:
        log = Log(patch)
        for i in range(FRAMES):
            writer.write_frame(i, *recorded[i])
            log.events.append(("returned", i))
        writer.close()
        log.events.append(("closed",))
    cuts = [(cut, rng) for cut in range(len(log.events) + 1) for _ in range(per_cut)]
    for number, (cut, chance) in enumerate(cuts):
        events = log.events[:cut]
        root = tmp_path / f"state_{number}"
        for path, content in crash_state(events, before, chance).items():
            target = root / path.relative_to(writer.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        yield events, root


def check(events, root, synthetic, recorded, reference, resume):
    session = Session.open(root)
    promised = [e[1] for e in events if e[0] == "returned"]
    assert session.frame_indices[: len(promised)] == promised, "a committed frame was lost"
    assert len(session) <= len(promised) + 1
    for index in session.frame_indices:
        assert session.damage(index) == [], "a frame with a final name is not whole"
        session.occupancy(index)
    assert session.meta.frames in ((None, FRAMES) if len(promised) == FRAMES else (None,))
    if resume:
        with SessionWriter.resume(root, sync=False) as writer:
            assert writer.discarded == []
            for i in range(writer.next_index, FRAMES):
                writer.write_frame(i, *recorded[i])
        assert synthetic.contents(root) == reference


def run(tmp_path, monkeypatch, synthetic, recorded, per_cut):
    reference = synthetic.contents(synthetic.write(tmp_path / "reference", recorded[:FRAMES]))
    seen = 0
    for events, root in states(tmp_path, monkeypatch, synthetic, recorded, per_cut):
        check(events, root, synthetic, recorded, reference, resume=seen % 7 == 0)
        seen += 1
    return seen


def test_states_after_a_power_cut(tmp_path, monkeypatch, synthetic, recorded):
    assert run(tmp_path, monkeypatch, synthetic, recorded, per_cut=3) > 200


@pytest.mark.long
def test_many_states_after_a_power_cut(tmp_path, monkeypatch, synthetic, recorded):
    assert run(tmp_path, monkeypatch, synthetic, recorded, per_cut=40) > 3000


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_fifty_thousand_states_after_a_power_cut(tmp_path, monkeypatch, synthetic, recorded):
    assert run(tmp_path, monkeypatch, synthetic, recorded, per_cut=700) > 50_000


def test_the_model_sees_a_writer_that_does_not_flush(tmp_path, monkeypatch, synthetic, recorded):
    """The same check on the order without flushes must fail, else it proves nothing."""
    real = SessionWriter.write_frame
    monkeypatch.setattr(
        SessionWriter, "write_frame", lambda self, *a: (setattr(self, "_sync", False), real(self, *a))[1]
    )
    with pytest.raises(AssertionError, match=r"lost|not whole"):
        run(tmp_path, monkeypatch, synthetic, recorded, per_cut=3)
