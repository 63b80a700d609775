"""Hostile and broken XML is refused by name; honest XML comes through, streamed or whole."""

import gzip
import time

import pytest

from aerialworld_core.errors import InputError, UnsafeInputError
from aerialworld_core.safexml import CountedFile, UndeclaredPrefixError, iterparse, parse, release

BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + b"".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">'.encode() for i in range(9))
    + b"]><lolz>&j;</lolz>"
)
UNSAFE = {
    "bomb": BOMB,
    "external entity": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "external DTD": b'<!DOCTYPE a SYSTEM "http://example.com/a.dtd"><a/>',
    "bare doctype": b"<!DOCTYPE a><a/>",
    "doctype after 40 kB of comment": b"<!-- " + b"x" * 40_000 + b' --><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    "UTF-16 doctype": '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
    "gzip": gzip.compress(b"<a/>"),
    "bzip2": b"BZh91AY&SY",
    "xz": b"\xfd7zXZ\x00\x00\x04",
    "zip": b"PK\x03\x04rest",
    "deep": b"<a>" * 400 + b"</a>" * 400,
}
BROKEN = {
    "truncated": b"<a><b>text",
    "empty": b"",
    "not xml": b"{}",
    "two roots": b"<a/><b/>",
    "binary": bytes(range(256)) * 4,
}


def whole(path):
    return parse(path)


def streamed(path):
    return list(iterparse(path, tags="b"))


@pytest.mark.parametrize("read", [whole, streamed])
@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_xml_is_refused_and_named(tmp_path, name, read):
    path = tmp_path / "evil.xml"
    path.write_bytes(UNSAFE[name])
    with pytest.raises(UnsafeInputError, match=r"evil\.xml"):
        read(path)


@pytest.mark.parametrize("read", [whole, streamed])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_xml_is_an_input_error_that_names_the_file(tmp_path, name, read):
    path = tmp_path / "broken.xml"
    path.write_bytes(BROKEN[name])
    with pytest.raises(InputError, match=r"broken\.xml"):
        read(path)


def test_a_syntax_error_names_the_line(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<a>\n<b>\n</c>\n</a>")
    with pytest.raises(InputError, match=r"a\.xml: line 3: .*mismatch"):
        parse(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="no such SDF file"):
        parse(tmp_path / "none.sdf", what="SDF file")
    with pytest.raises(InputError, match="is a folder"):
        parse(tmp_path)


def test_the_byte_limit_holds_while_streaming(tmp_path):
    path = tmp_path / "large.xml"
    path.write_bytes(b"<a>" + b"<b>1</b>" * 50_000 + b"</a>")
    size = path.stat().st_size
    assert len(list(iterparse(path, tags="b", max_bytes=size))) == 50_000
    for read in (lambda: parse(path, max_bytes=size - 1), lambda: list(iterparse(path, max_bytes=size - 1))):
        with pytest.raises(UnsafeInputError, match="larger than the limit"):
            read()


def test_streaming_gives_every_element_once_and_memory_back(tmp_path):
    path = tmp_path / "city.xml"
    path.write_text(
        "<?xml version='1.0'?><!-- c --><c>" + "".join(f"<b><v>{i}</v></b>" for i in range(20_000)) + "</c>"
    )
    seen, most = [], 0
    for event, element in iterparse(path, tags=["b"]):
        assert event == "end"
        seen.append(int(element.findtext("v")))
        most = max(most, len(element.getparent()))
        release(element)
    assert seen == list(range(20_000))
    assert most < 4000  # one chunk of the file, not all of it
    assert parse(path).tag == "c"


def test_counted_file_counts(tmp_path):
    path = tmp_path / "f.bin"
    path.write_bytes(b"x" * 100)
    with CountedFile(path, max_bytes=100) as handle:
        assert len(handle.read()) == 100 and handle.count == 100 and handle.read(5) == b""
    with CountedFile(path, max_bytes=99) as handle, pytest.raises(UnsafeInputError):
        handle.read()


@pytest.mark.parametrize(
    "head",
    [
        "",
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        "\ufeff<?xml version='1.0'?><!-- <a> --><?p <b?>\n",
        "<!--" + "x" * 70_000 + "-->",
    ],
)
def test_a_forgotten_prefix_is_named_and_may_be_declared(tmp_path, head):
    path = tmp_path / "prefix.xml"
    path.write_text(head + "<r:root xmlns:r='u'>\n<e:b c='1'/>\n<b f:c='2'/></r:root>", encoding="utf-8")
    with pytest.raises(UndeclaredPrefixError, match=r"prefix\.xml: line \d+.*prefix e ") as caught:
        list(iterparse(path, tags="{*}b"))
    assert caught.value.prefix == "e"
    with pytest.raises(UndeclaredPrefixError) as caught:
        list(iterparse(path, tags="{*}b", declare=["e"]))
    assert caught.value.prefix == "f"
    first, second = (e for _, e in iterparse(path, tags="{*}b", declare=["e", "f"]))
    assert first.tag == "{urn:undeclared:e}b" and first.get("c") == "1"
    assert second.get("{urn:undeclared:f}c") == "2" and second.sourceline == head.count("\n") + 3


@pytest.mark.parametrize("text", ["<a><e:b></a>", "<e:a>", "no xml", "<!-- open " + "x" * 2_000_000, "<e:a/><e:a/>"])
def test_declared_prefixes_excuse_no_other_fault(tmp_path, text):
    path = tmp_path / "broken.xml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"broken\.xml"):
        list(iterparse(path, declare=["e"]))


def test_a_doctype_is_refused_whatever_is_declared(tmp_path):
    path = tmp_path / "evil.xml"
    path.write_bytes(UNSAFE["external entity"])
    with pytest.raises(UnsafeInputError, match="DOCTYPE"):
        list(iterparse(path, declare=["e"]))


def test_freeing_an_element_is_linear_in_its_children(tmp_path):
    """Inner elements that are asked for as well, behind many that are not: 40,000 took 1 s when it was quadratic."""
    path = tmp_path / "wide.xml"
    many = b'<n:link n:to="x"/>' * 200_000
    path.write_bytes(b'<r xmlns:n="urn:n"><m><n:c>' + many + b"<p>1</p>" * 6 + b"</n:c></m></r>")
    begin, found = time.process_time(), []
    for _, element in iterparse(path, tags=["m", "p"]):
        found.append(element.tag)
        if element.tag == "m":
            release(element)
    assert found == ["p"] * 6 + ["m"]
    assert time.process_time() - begin < 5


def test_elements_before_a_fault_are_handed_on_first(tmp_path):
    path = tmp_path / "cut.xml"
    path.write_bytes(b"<r>" + b"<a>1</a>" * 10_000 + b"<b></r>")
    found = 0
    with pytest.raises(InputError, match=r"cut\.xml: line 1"):
        for _ in iterparse(path, tags="a"):
            found += 1
    assert found == 10_000
