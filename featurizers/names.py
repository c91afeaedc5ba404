"""What a feature may be called: any text of 1 to 256 bytes in UTF-8.

Names contain parts of records, so they can be too long, or contain a lone surrogate, which UTF-8 can't encode. `fit` cuts a
name over 256 bytes at a character boundary; it then ends in ``~`` and 16 hexadecimal digits, the first 8 bytes of the BLAKE2b
hash of the whole name. So two long names that differ stay different. A record with a lone surrogate is rejected, as it is
where msgpack would have to represent it.
"""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice

from featurizers.errors import FeaturizeError, shown

MAX_NAME_BYTES = 256
SAFE_CHARACTERS = MAX_NAME_BYTES // 4  # so many clean characters always fit: none has more than 4 bytes
MAX_FEATURES = 10_000
MAX_RUNS = 1_000_000  # n-grams or runs of words in a text, repeats included: about a second's work
HASH_BYTES = 8
KEPT_BYTES = MAX_NAME_BYTES - 1 - 2 * HASH_BYTES


def encodable(text: str) -> str:
    r"""Return a text unchanged; UTF-8 must be able to encode it.

    Examples
    --------
    >>> encodable("caf\u00e9")
    'café'
    >>> encodable("a\ud83db")
    Traceback (most recent call last):
    featurizers.errors.FeaturizeError: text must have no lone surrogates (got 'a\ud83db')
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FeaturizeError(f"text must have no lone surrogates (got {shown(text)})") from None
    return text


def fit(name: str) -> str:
    """Return a feature name of at most 256 bytes in UTF-8.

    Raises
    ------
    FeaturizeError
        When it contains a lone surrogate.

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
    encoded = encodable(name).encode()
    if len(encoded) <= MAX_NAME_BYTES:
        return name
    kept = encoded[:KEPT_BYTES].decode(errors="ignore")  # "ignore" drops a character that is cut in two
    return f"{kept}~{blake2b(encoded, digest_size=HASH_BYTES).hexdigest()}"


def bounded(runs: Iterable[str], n: int, what: str) -> "list[str] | Counter[str]":
    """Return the names of a text's n-grams, or how often each comes: either way few are in memory at a time.

    Parameters
    ----------
    runs : iterable of str
        The names, not made yet.
    n : int
        How many they are, repeats included.
    what : str
        What they are, for the error.

    Raises
    ------
    FeaturizeError
        When they are more than `MAX_RUNS`, or more than `MAX_FEATURES` different ones.

    Examples
    --------
    >>> bounded(iter(["b", "a", "a"]), 3, "n-grams")
    ['b', 'a', 'a']
    """
    if n <= MAX_FEATURES:
        return list(runs)
    if n > MAX_RUNS:
        raise FeaturizeError(f"text must have at most {MAX_RUNS} {what} (got {n})")
    counts: Counter[str] = Counter()
    runs = iter(runs)
    while some := list(islice(runs, MAX_FEATURES)):
        counts.update(some)
        if len(counts) > MAX_FEATURES:
            raise FeaturizeError(f"record must give at most {MAX_FEATURES} features (got more)")
    return counts


def number_text(value: float) -> str:
    """Return a number in its short form, as names have it.

    Examples
    --------
    >>> number_text(1.0), number_text(-0.0), number_text(0.25), number_text(1e300)
    ('1', '0', '0.25', '1e+300')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
