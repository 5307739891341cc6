"""Text from guests: nothing hidden, nothing obeyed, nothing endless."""

import pytest

from reports.untrusted import breakable, excerpt, prose, slug, visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ttext\nover lines", "plain\ttext\nover lines"),
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\\x0db"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("nul\0 bell\a delete\x7f", "nul\\x00 bell\\x07 delete\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("byte \udcff", "byte \\udcff"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("zero\u200bwidth \ufeff", "zero\\u200bwidth \\ufeff"),
        ("line\u2028separator", "line\\u2028separator"),
        ("tag \U000e0041", "tag \\U000e0041"),
        ("ünïcödé ✓ 日本", "ünïcödé ✓ 日本"),
    ],
)
def test_visible(text, expected):
    assert expected == visible(text)


def test_a_long_text_keeps_both_ends():
    text = "head" + "x" * 1_000_000 + "tail"
    short = excerpt(text)
    assert len(short) < 65_000
    assert short.startswith("head")
    assert short.endswith("tail")
    assert "[… 936,008 characters left out here; results.json has them …]" in short
    assert excerpt("x" * 64_000) == "x" * 64_000


@pytest.mark.parametrize("text", ["6.1", "test_nop", "defer-taskrun", "6.12-arm64", "a" * 80])
def test_plain_ids_are_their_own_slugs(text):
    assert text == slug(text)


@pytest.mark.parametrize(
    "text",
    ["../../etc/passwd", "/boot/vmlinuz", ".hidden", "", "a b", "a?b", "test[1-<x>]", "ä", "-x", "a" * 81, "\udcff"],
)
def test_other_ids_are_made_safe(text):
    made = slug(text)
    assert made
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert made[0] not in ".-"
    assert len(made) <= 91


def test_different_ids_never_share_a_slug():
    names = ["a/b", "a_b", "a?b", "a b", "a\\b", "x" * 90, "x" * 91, "", "/"]
    assert len(names) == len({slug(name) for name in names})


def test_names_wrap_where_a_reader_would_break_them():
    assert breakable("a/b_c<d>") == "a/<wbr>b_<wbr>c&lt;d&gt;"
    assert breakable("x\0/y") == "x\\x00/<wbr>y"


def test_docstrings_show_code_as_code():
    assert prose("Zig's `nop` & ``x``\n\n`open") == "Zig&#39;s <code>nop</code> &amp; <code>x</code>\n\n`open"
    assert prose("`<b>\x1b`") == "<code>&lt;b&gt;\\x1b</code>"
