"""Real files, mutated in structure and in bytes: only expected errors or whole, finite worlds; bounded time and memory.

`make test` tries 150, `make test-all` 2,000, `make soak` 100,000.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import accept_city_child as child
import accept_city_truth as truth

pytestmark = pytest.mark.skipif(
    not truth.PLATEAU.is_dir(), reason=f"no real PLATEAU files below {truth.PLATEAU}: set AERIALWORLD_SHARED"
)
FILES = (
    "04_*/udx/bldg/53392546_bldg_6697_2_op.gml",
    "04_*/udx/dem/533925_dem_6697_op.gml",
    "11_*/*/udx/tran/53394503_tran_6697_op.gml",
    "12_*/duplicate_gml_id/udx/bldg/input.gml",
    "12_*/BuildingPart/udx/bldg/test_buildingpart.gml",
    "12_*/tran_orientation/udx/tran/input.gml",
    "12_*/osaka_holes_Issue138/51357441_bldg_Issue138-A.gml",
    "01_*/*/udx/bldg/53392633_bldg_6697_2_op.gml",
    "obj",
)
ODD_NUMBERS = "nan inf -inf 1e9 -1e9 1e308 1e-308 0 -0 -1 9999 -9999 35.66 139.7 180 90 1e5 0x10 1_0 ٣ 1,5 --1".split()
ODD_WORDS = ["", " ", "\n\n", "&", "#", "#nowhere", "../x", "file:///etc/passwd", "テスト", "2000",
             "x" * 3000, "\u0085", "461"]  # fmt: skip
KINDS = ("drop", "double", "move", "swap", "rename", "number", "numbers", "cut", "id", "link", "word", "attribute",
         "space", "byte", "bytes", "remove", "repeat")  # fmt: skip


@cache
def original(index):
    """The bytes of the file, and its name; of set 01 one textured building."""
    if FILES[index] == "obj":
        lines = next(truth.PLATEAU.glob("06_*/*/*_bldg_6677.obj")).read_text().splitlines()
        wkt = [line for line in lines[:10] if line.startswith("#")]
        return "53393599_bldg_6677.obj", "\n".join([*wkt, *few_faces(lines)]).encode()
    path = next(truth.PLATEAU.glob(FILES[index]))
    if not FILES[index].startswith("01"):
        return path.name, path.read_bytes()
    root = ElementTree.fromstring(path.read_bytes())  # noqa: S314
    members = [m for m in root if truth.local(m.tag) == "cityObjectMember"]
    members.sort(key=lambda m: len(ElementTree.tostring(m)))
    for member in members[1:]:
        root.remove(member)
    kept = {truth.attribute(e, "id") for e in members[0].iter()}
    for data in list(root.iter()):
        for item in list(data):
            if truth.local(item.tag) == "surfaceDataMember":
                targets = [t.get("uri", "").lstrip("#") for t in item.iter() if truth.local(t.tag) == "target"]
                if not kept & set(targets):
                    data.remove(item)
    return path.name, ElementTree.tostring(root)


def few_faces(lines):
    vertices = [line for line in lines if line.startswith("v ")]
    faces = [[int(w.split("/")[0]) for w in line.split()[1:]] for line in lines if line.startswith("f ")][:60]
    used = {v: i + 1 for i, v in enumerate(sorted({v for f in faces for v in f}))}
    return [*(vertices[v - 1] for v in used), *("f " + " ".join(str(used[v]) for v in f) for f in faces)]


def mutate(data, steps):
    """Apply (kind, a, b) in turn: structure while the document still parses, bytes in any case."""
    for kind, a, b in steps:
        if kind in ("byte", "bytes", "remove", "repeat"):
            data = mutate_bytes(data, kind, a, b)
            continue
        try:
            root = ElementTree.fromstring(data)  # noqa: S314
        except (ElementTree.ParseError, ValueError, LookupError):
            data = mutate_bytes(data, "bytes", a, b)
            continue
        mutate_tree(root, kind, a, b)
        data = ElementTree.tostring(root, encoding="utf-8")
    return data


def mutate_bytes(data, kind, a, b):
    data = bytearray(data or b" ")
    at, length = a % len(data), 1 + b % 200
    if kind == "byte":
        data[at] = b % 256
    elif kind == "bytes":
        data[at : at + length] = bytes((b >> (8 * (i % 4))) % 256 for i in range(1 + b % 7))
    elif kind == "remove":
        del data[at : at + length * (1 + b % 40)]
    else:
        data[at:at] = data[at : at + length] * (1 + b % 30)
    return bytes(data)


def mutate_tree(root, kind, a, b):
    parents = [(p, i) for p in root.iter() for i in range(len(p))]
    if not parents:
        return
    parent, i = parents[a % len(parents)]
    element = parent[i]
    elements = list(root.iter())
    other = elements[b % len(elements)]
    texts = [e for e in elements if e.text and len(e.text.split()) > 1 and e.text.split()[0][:1].isdigit()]
    identified = [(e, k) for e in elements for k in e.attrib if truth.local(k) == "id"]
    linked = [(e, k) for e in elements for k in e.attrib if truth.local(k) in ("href", "uri", "ring")]
    if kind == "drop":
        parent.remove(element)
    elif kind == "double":
        for _ in range(1 + b % 3):
            parent.append(element)
    elif kind == "move":
        if other is not element and element not in set(ancestors(root, other)):
            parent.remove(element)
            other.append(element)
    elif kind == "swap":
        element.tag, other.tag = other.tag, element.tag
    elif kind == "rename":
        element.tag = other.tag if b % 2 else "unknown"
    elif kind in ("number", "numbers", "cut", "space") and texts:
        target = texts[a % len(texts)]
        words = target.text.split()
        if kind == "cut":
            words = words[: b % len(words)]
        elif kind == "space":
            words.insert(b % len(words), ODD_NUMBERS[b % len(ODD_NUMBERS)])
        else:
            for step in range(1 if kind == "number" else 1 + b % 9):
                words[(b + step * 3) % len(words)] = ODD_NUMBERS[(b // 7 + step) % len(ODD_NUMBERS)]
        target.text = " ".join(words)
    elif kind == "id" and len(identified) > 1:
        (e, k), (f, g) = identified[a % len(identified)], identified[b % len(identified)]
        e.set(k, f.get(g))
    elif kind == "link" and linked and identified:
        e, k = linked[a % len(linked)]
        f, g = identified[b % len(identified)]
        e.set(k, ("" if b % 5 == 0 else "#") + f.get(g) if b % 3 else ODD_WORDS[b % len(ODD_WORDS)])
    elif kind == "word":
        element.text = ODD_WORDS[b % len(ODD_WORDS)].replace("\u0085", " ")
    elif kind == "attribute" and element.attrib:
        key = sorted(element.attrib)[b % len(element.attrib)]
        if b % 2:
            del element.attrib[key]
        else:
            element.set(key, ODD_WORDS[b // 2 % len(ODD_WORDS)].replace("\u0085", " "))


def ancestors(root, element):
    """The element and everything above it."""
    above = {c: p for p in root.iter() for c in p}
    while element is not None:
        yield element
        element = above.get(element)


@pytest.fixture(scope="module")
def server():
    served = child.Child()
    yield served
    served.close()


def check(server, index, steps):
    """One mutated file: what came of it is expected, bounded, whole and finite."""
    name, data = original(index)
    mutated = mutate(data, steps)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "source"
        place.mkdir()
        (place / name).write_bytes(mutated)
        result = server.convert(place / name, Path(folder) / "world", memory_mib=1536, cpu_s=10, wall_s=40)
        if result["outcome"] not in ("world", "error"):
            keep = Path(tempfile.gettempdir()) / f"aerialworld-fuzz-{abs(hash(mutated)):x}"
            keep.mkdir(exist_ok=True)
            shutil.copy(place / name, keep / name)
            pytest.fail(f"{keep / name}: {result['outcome']}: {result['message']}")
        assert result["cpu_s"] <= 10 and result["peak_mib"] <= 1024
        left = {p.name for p in Path(folder).iterdir()}
        assert left == ({"source", "world"} if result["outcome"] == "world" else {"source"})
        if result["outcome"] == "world":
            bounds = np.array([b for b in result["bounds"].values() if b], float)
            assert np.isfinite(bounds).all() and np.abs(bounds).max() <= 1e5
            for path in (Path(folder) / "world").rglob("*.glb"):
                assert all(
                    np.isfinite(p.positions).all() and np.isfinite(p.normals).all() for p in truth.read_glb(path)
                )
            truth.read_glb.cache_clear()
    return result["outcome"]


STEP = st.tuples(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
FUZZ = {"deadline": None, "derandomize": True, "database": None,
        "suppress_health_check": list(HealthCheck), "print_blob": True}  # fmt: skip


def test_untouched_files_convert(server):
    """The mutations start from files that are read: nothing here is refused before it is looked at."""
    assert [check(server, i, []) for i in range(len(FILES))] == ["world"] * len(FILES)


@pytest.mark.long
def test_a_few_mutated_files(server):
    random_files(server, "few", 60)


@pytest.mark.long
@settings(max_examples=500, **FUZZ)
@given(index=st.integers(0, len(FILES) - 1), steps=st.lists(STEP, min_size=1, max_size=6))
def test_mutated_files_shrunk_by_hypothesis(server, index, steps):
    check(server, index, steps)


def random_files(server, seed, count):
    random = Random(seed)  # noqa: S311 - mutations, no secrets
    outcomes = []
    for _ in range(count):
        steps = [(random.choice(KINDS), random.getrandbits(32), random.getrandbits(32))
                 for _ in range(random.choice([1, 1, 2, 3, 6]))]  # fmt: skip
        outcomes.append(check(server, random.randrange(len(FILES)), steps))
    # Mutations that never reach the geometry, or never hurt, would test nothing.
    assert 0.1 < outcomes.count("error") / count < 0.9


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_many_mutated_files(server, part):
    random_files(server, f"many{part}", 375)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(20))
def test_a_hundred_thousand_mutated_files(server, part):
    random_files(server, f"soak{part}", 5000)
