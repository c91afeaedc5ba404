"""What a feature may be called: any text of 1 to 256 bytes in UTF-8.

Names contain parts of records, so they can be too long, or contain half of a surrogate pair. `fit` repairs both, always
in the same way:

- Two halves of a surrogate pair become their character. A single half becomes U+FFFD, the replacement character.
- A name over 256 bytes is cut at a character boundary, and ends in ``~`` and 16 hexadecimal digits, the first 8 bytes of the
  BLAKE2b hash of the whole name. So two long names that differ stay different.
"""

from hashlib import blake2b

MAX_NAME_BYTES = 256
SAFE_CHARACTERS = MAX_NAME_BYTES // 4  # so many clean characters always fit: none has more than 4 bytes
MAX_FEATURES = 10_000
HASH_BYTES = 8
KEPT_BYTES = MAX_NAME_BYTES - 1 - 2 * HASH_BYTES


def clean(text: str) -> str:
    r"""Return a text that UTF-8 can encode: pairs of surrogates become characters, single surrogates are replaced.

    Examples
    --------
    >>> clean("caf\u00e9"), clean("\ud83d\ude00"), clean("a\ud83db")
    ('café', '😀', 'a�b')
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def fit(name: str) -> str:
    """Return a feature name that UTF-8 can encode, of at most 256 bytes.

    Examples
    --------
    >>> fit("carrier=UA")
    'carrier=UA'
    >>> fit("word_" + "a" * 300)[-20:], fit("word_" + "a" * 301)[-20:]
    ('aaa~...', 'aaa~...')
    >>> len(fit("é" * 300).encode())  # not 256: the 239th byte before "~" would be half a character
    255
    """
    if name.isascii() and len(name) <= MAX_NAME_BYTES:
        return name
    name = clean(name)
    encoded = name.encode()
    if len(encoded) <= MAX_NAME_BYTES:
        return name
    kept = encoded[:KEPT_BYTES].decode(errors="ignore")  # "ignore" drops a character that is cut in two
    return f"{kept}~{blake2b(encoded, digest_size=HASH_BYTES).hexdigest()}"


def number_text(value: float) -> str:
    """Return a number in its short form, as names have it.

    Examples
    --------
    >>> number_text(1.0), number_text(-0.0), number_text(0.25), number_text(1e300)
    ('1', '0', '0.25', '1e+300')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
