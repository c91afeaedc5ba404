"""The feature template over the parts of an e-mail address: their kinds and their faults.

The address is split at its last ``@`` into the local part and the domain, and the domain at its dots into labels (RFC 5321 and
5322, RFC 6531 for letters beyond ASCII).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from unicodedata import category, normalize

from featurizers.names import fit
from featurizers.operations import Operation
from featurizers.strings import StringTemplate
from featurizers.template import Adder

# RFC 5321 section 4.5.3.1 and its erratum 1690. Addresses and local parts are measured in bytes, labels in characters:
# beyond ASCII, a label is sent as Punycode, whose length differs.
MAX_ADDRESS, MAX_LOCAL, MAX_LABEL = 254, 64, 63

QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"')
NO_ATOM = re.compile(r"[^\w.!#$%&'*+/=?^`{|}~-]")  # beyond ASCII, \w keeps the letters and digits of every script
NO_LABEL = re.compile(r"[^\w.-]|_")
PARTS = ("local=none", "local=quoted", "local=plain", "domain=none", "domain=", "suffix=", "faultless")
FAULTS = (
    "local_length", "local_none", "local_quotes", "local_", "local_..", "local_.", "domain_none", "domain_", "label_none",
    "label_-", "label_length", "suffix_digits", "address_length",
)  # fmt: skip
RIGHT = ("_.!#$%&'*+/=?^`{|}~-", ".-")  # of ASCII, beside letters and digits: in a local part, in a domain


@dataclass(frozen=True, kw_only=True)
class EmailParts(StringTemplate):
    """The parts of an e-mail address: the kind of the local part, the domain, the suffix, and every fault.

    A fault is ``fault_...`` with its kind; an address without faults is ``faultless``.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> f = Featurizer([EmailParts()])
    >>> f("abc@gmail.com")
    {'at=1': 1.0, 'local=plain': 1.0, 'domain=gmail.com': 1.0, 'labels=2': 1.0, 'suffix=com': 1.0, 'faultless': 1.0}
    >>> list(f("a b..c@-x"))
    ['at=1', 'local=plain', 'domain=-x', 'labels=1', 'suffix=-x', 'fault_local_ ', 'fault_local_..', 'fault_label_-']
    """

    template = "email_parts"

    def adder(self) -> Adder:
        """Add the features of local part, domain and lengths."""
        read, prefix = self.text_reader(), self.prefix

        def add(record: Any, out: dict[str, float]) -> None:
            text = read(record)
            if text is None:
                return
            local, _, domain = text.rpartition("@")
            names = [f"at={min(text.count('@'), 3)}"]  # 3 stands for three or more
            faults = _local(local, names) + _domain(domain, names)
            if len(text.encode()) > MAX_ADDRESS:
                faults.append("address_length")
            names += [f"fault_{fault}" for fault in faults] or ["faultless"]
            for name in names:
                out[fit(prefix + name)] = 1.0

        return add

    def operation(self) -> Operation:
        """List the names, or the beginnings of those that end in a part of the address; then the characters that are right."""
        faults = (f"fault_{fault}" for fault in FAULTS)
        names = (*(f"at={n}" for n in range(4)), *PARTS, *(f"labels={n}" for n in range(1, 10)), *faults)
        texts = (*(self.prefix + name for name in names), *RIGHT)
        return Operation("email_parts", (self.field,), self.optional, texts)


def _local(local: str, names: list[str]) -> list[str]:
    """Add the kind of a local part to the names; return its faults."""
    faults = ["local_length"] if len(local.encode()) > MAX_LOCAL else []
    if not local:
        names.append("local=none")
        return ["local_none"]
    if local[0] == '"':
        names.append("local=quoted")
        return faults if QUOTED.fullmatch(local) else [*faults, "local_quotes"]
    names.append("local=plain")
    faults += [f"local_{kind}" for kind in _kinds(NO_ATOM.findall(local))]
    if ".." in local:
        faults.append("local_..")
    if local[0] == "." or local[-1] == ".":
        faults.append("local_.")
    return faults


def _domain(domain: str, names: list[str]) -> list[str]:
    """Add a domain and its parts to the names; return its faults."""
    if not domain:
        names.append("domain=none")
        return ["domain_none"]
    if domain[0] == "[":
        names.append("domain=literal")
        return [] if _is_literal(domain) else ["domain_literal"]
    labels = domain.lower().split(".")
    names += [f"domain={'.'.join(labels)}", f"labels={min(len(labels), 9)}", f"suffix={labels[-1]}"]
    faults = [f"domain_{kind}" for kind in _kinds(NO_LABEL.findall(domain))]
    if not domain.isascii() and normalize("NFKC", domain) != normalize("NFC", domain):
        faults.append("domain_compatibility")
    if not all(labels):
        faults.append("label_none")
    if any(label[:1] == "-" or label[-1:] == "-" for label in labels):
        faults.append("label_-")
    if any(len(label) > MAX_LABEL for label in labels):
        faults.append("label_length")
    if labels[-1].isdigit():
        faults.append("suffix_digits")
    return faults


def _kinds(characters: Iterable[str]) -> Iterable[str]:
    """Return the kinds of wrong characters, each once.

    An ASCII character is its own kind; the kind of another is its Unicode category. Combining marks belong to letters, and are
    not wrong.
    """
    kinds = (character if character.isascii() else category(character) for character in characters)
    return dict.fromkeys(kind for kind in kinds if kind[0] != "M" or len(kind) == 1)


def _is_literal(domain: str) -> bool:
    """Tell whether a domain is an IP address in brackets, as RFC 5321 section 4.1.3 writes it."""
    inner = domain[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            IPv6Address(inner[5:])
        else:
            IPv4Address(inner)
    except ValueError:
        return False
    return domain[-1] == "]"
