"""Make text from guests safe to show: control characters visible, sizes bounded, names fit for files and links."""

import re
from hashlib import sha256

from markupsafe import Markup, escape

# What a page shows of one piece of text; the whole of it is in results.json.
EXCERPT_HEAD_CHARACTERS = 16_000
EXCERPT_TAIL_CHARACTERS = 48_000
SLUG_LENGTH_MAX = 80

# Controls other than tab and newline; characters that reorder or hide the text around them; what is no character.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Replace what a browser would obey or swallow by something a reader can see."""
    return _UNSAFE.sub(_escape, text.replace("\r\n", "\n"))


def _escape(match: re.Match[str]) -> str:
    """Write the code point as an escape: every font has the characters for it."""
    code = ord(match[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def breakable(text: str) -> Markup:
    """Escape a name and let it wrap after slashes and underscores, where a reader would break it."""
    parts = re.split(r"(?<=[/_])(?=\w)", visible(text))
    return Markup("<wbr>").join(escape(part) for part in parts)


def prose(text: str) -> Markup:
    """Escape a docstring and set what stands in backticks as code."""
    parts = [escape(part) for part in re.split(r"`+([^`\n]+)`+", visible(text))]
    return Markup().join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )


def excerpt(
    text: str, head_characters: int = EXCERPT_HEAD_CHARACTERS, tail_characters: int = EXCERPT_TAIL_CHARACTERS
) -> str:
    """Keep the beginning and the end of a very long text, and say how much is left out.

    Args:
        text: any.
        head_characters: how much of the beginning to keep.
        tail_characters: how much of the end to keep, at least 1.
    """
    left_out = len(text) - head_characters - tail_characters
    if left_out <= 0:
        return text
    note = f"\n[… {left_out:,} characters left out here; results.json has them …]\n"
    return text[:head_characters] + note + text[-tail_characters:]


def slug(text: str) -> str:
    """Turn an id into a part of a file name and of a link; two different ids never give the same one."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:SLUG_LENGTH_MAX].lstrip(".-")
    if plain == text and text:
        return text
    digest = sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:10]
    return f"{plain}-{digest}" if plain else digest
