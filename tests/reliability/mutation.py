"""Entries as strangers may send them: entries of every kind, with random changes of structure and bytes."""

import json
import random
import struct
from typing import Any

NAMES = ["lat", "lon", "a", "b", "né", "x" * 40, "x" * 256, "x" * 257, "", "(constant)", "n\x00", "city"]
NUMBERS: list[Any] = [
    0, 1, -1, 2, 0.5, -0.0, 40.6, -73.8, 91.2, 181.0, 1e-30, 1e-31, 1e30, 1.0000001e30, 1e308, 5e-324, 127, 128, 255, 256, -32,
    -33, 65_535, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
TARGETS: list[Any] = [
    1,
    -1,
    0,
    True,
    False,
    "spam",
    "ham",
    1.0,
    -1.0,
    2,
    "",
    "spa",
    None,
    [],
    float("nan"),
    b"spam",
    0.5,
]
TARGET_TEXTS = [b"1", b"-1", b"0", b"true", b"spam", b"ham", b" 1 ", b"1e0", b"1.0", b"NaN", b"2", b"", b"x" * 257, b"\xff",
                b"[1]", b"1" * 60, b"1\x00", b"-Infinity", b"null", b'"spam"', b"01", b"+1", b"1_0", b"1e999"]  # fmt: skip
IMPORTANCES: list[Any] = [1.0, 0, 0.5, 2, 1e6, 1.1e6, -1, -0.0, True, None, "1", float("nan"), float("inf"), 2**64 - 1]
IMPORTANCE_TEXTS = [b"1", b"2.5", b"0", b"1e6", b"1e7", b"-1", b"NaN", b"x", b"true", b"", b"1e-300"]
INTERESTING = (
    bytes([0x00, 0x01, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x92, 0x93, 0xA0, 0xA1, 0xBF, *range(0xC0, 0xE0), 0xFF])
    + b'{}[]":,\\u0e-'
)


class Mutator:
    """Draws random entries; equal seeds draw equal entries."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.choice, self.chance = self.rng.choice, self.rng.random
        self.calm = False  # whether names, numbers and targets are drawn from the valid ones
        self.pool: list[bytes] = [b"\x92\x01\x81\xa1a\x01"]

    # ---- values ----
    def name(self) -> str:
        if self.calm:
            return self.choice(["a", "b", "né", "city", f"n{self.rng.randrange(1000)}"])
        if self.chance() < 0.7:
            return self.choice(NAMES)
        return "".join(self.choice("abλ=_🎉 ") for _ in range(self.rng.randrange(6)))

    def number(self) -> Any:
        if self.calm:
            return self.choice([1, 1.0, 2, -3, 0.25, self.rng.uniform(-200, 200)])
        return self.choice(NUMBERS) if self.chance() < 0.6 else self.rng.uniform(-200, 200)

    def array(self) -> "Ext":
        code = self.choice([4, 8])
        numbers = [self.number() for _ in range(self.rng.choice([0, 1, 2, 4, 9]))]
        fitting = [float(x) for x in numbers if code == 8 or not abs(x) > 3e38]
        return Ext(
            code if self.chance() < 0.97 else 5, struct.pack(f"<{len(fitting)}{'f' if code == 4 else 'd'}", *fitting)
        )

    def features(self) -> Any:
        if self.chance() < 0.1:
            return self.array()
        features = {self.name(): self.number() for _ in range(self.rng.choice([0, 1, 2, 3, 5, 17]))}
        if self.chance() < 0.05:
            features[self.name()] = self.value(3)
        return features

    def record(self) -> Any:
        if self.chance() < 0.1:
            return self.value(4) if self.chance() < 0.5 else self.array()
        record = {"lat": round(self.rng.uniform(-91, 91), 3), "lon": round(self.rng.uniform(-185, 185), 3)}
        while self.chance() < 0.4:
            record[self.name()] = self.value(3)
        return record

    def value(self, depth: int) -> Any:
        kind = self.rng.randrange(10 if depth else 6)
        if kind < 2:
            return self.number()
        if kind < 4:
            return self.name()
        if kind < 6:
            return self.choice(
                [None, True, False, b"\x00bytes", Ext(self.rng.randrange(-2, 3), bytes(self.choice([0, 1, 4, 8, 12])))]
            )
        if kind < 8:
            return [self.value(depth - 1) for _ in range(self.rng.randrange(4))]
        return {self.name(): self.value(depth - 1) for _ in range(self.rng.randrange(4))}

    def nest(self) -> bytes:
        """Return a value nested in many lists or maps, in msgpack."""
        depth = self.choice([5, 20, 31, 32, 33, 40, 200, 3000])
        return self.choice([b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\xdf\x00\x00\x00\x01\xa1a"]) * depth + b"\x01"

    # ---- encodings ----
    def pack(self, value: Any) -> bytes:
        """Return a value in msgpack, sometimes in a longer form than necessary, or with a repeated or an odd key."""
        long = self.chance() < 0.15
        if value is None or value is True or value is False:
            return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
        if isinstance(value, int):
            forms = [(">b", b"\xd0"), (">h", b"\xd1"), (">i", b"\xd2"), (">q", b"\xd3")]
            forms += [(">B", b"\xcc"), (">H", b"\xcd"), (">I", b"\xce"), (">Q", b"\xcf")]
            forms_that_fit = [struct.pack("b" if value < 0 else "B", value)] if -32 <= value < 128 and not long else []
            for form, head in forms:
                if not forms_that_fit or long:
                    try:
                        forms_that_fit.append(head + struct.pack(form, value))
                    except struct.error:
                        continue
            return self.choice(forms_that_fit)
        if isinstance(value, float):
            if long and abs(value) < 1e38:
                return b"\xca" + struct.pack(">f", value)
            return b"\xcb" + struct.pack(">d", value)
        if isinstance(value, Ext):
            return b"\xc7" + bytes([len(value.data)]) + struct.pack(">b", value.code) + value.data
        if isinstance(value, bytes):
            return self.head(len(value), None, b"\xc4\xc5\xc6", long, 1) + value
        if isinstance(value, str):
            data = value.encode("utf-8", "surrogatepass")
            return self.head(len(data), (0xA0, 31), b"\xd9\xda\xdb", long, 1) + data
        if isinstance(value, dict):
            pairs = list(value.items())
            if pairs and self.chance() < 0.03:
                pairs.append(self.choice(pairs))
            if self.chance() < 0.02:
                pairs.append((self.value(1), 1))
            body = b"".join(self.pack(key) + self.pack(item) for key, item in pairs)
            return self.head(len(pairs), (0x80, 15), b"\xde\xdf", long, 2) + body
        return self.head(len(value), (0x90, 15), b"\xdc\xdd", long, 2) + b"".join(map(self.pack, value))

    def head(self, n: int, fixed: tuple[int, int] | None, wide: bytes, long: bool, first: int) -> bytes:
        if fixed and n <= fixed[1] and not long:
            return bytes([fixed[0] | n])
        sizes = [first << i for i in range(len(wide))]
        fitting = [i for i, size in enumerate(sizes) if n < 256**size]
        i = self.choice(fitting) if long else fitting[0]
        return bytes([wide[i]]) + n.to_bytes(sizes[i], "big")

    def json(self, value: Any) -> bytes:
        """Return a value in JSON, which is sometimes invalid."""
        text = json.dumps(value, default=str, ensure_ascii=self.chance() < 0.5, indent=self.choice([None, None, 1]))
        if self.chance() < 0.05:
            text = text.replace(
                "1", self.choice(["1e999", "1" * 400, "-0", "01", "1.", "\\u0031", "1E+2", "NaN", "9" * 5000]), 1
            )
        if self.chance() < 0.03:
            text = text.replace("{", '{"a": 1, "a": 2, ', 1)
        if self.chance() < 0.03:
            text = text.replace('"', '"\\ud800', 1)
        return text.encode(self.choice(["utf-8"] * 30 + ["utf-16-le", "latin-1"]), "replace")

    def encoded(self, value: Any) -> bytes:
        return self.pack(value) if self.chance() < 0.6 else self.json(value)

    # ---- entries ----
    def entry(self) -> dict[bytes, bytes]:
        """Return one entry."""
        self.calm = self.chance() < 0.6
        kind = self.rng.randrange(8)
        if kind < 4:
            items = [self.item(records=kind % 2 == 0) for _ in range(self.choice([0, 1, 1, 2, 3, 6]))]
            fields = {b"records" if kind % 2 == 0 else b"batch": b"".join(items)}
        else:
            fields = (
                {b"record": self.encoded(self.record())} if kind < 6 else {b"features": self.encoded(self.features())}
            )
            fields[b"target"] = self.choice(TARGET_TEXTS[:6] if self.calm else TARGET_TEXTS)
            if self.chance() < 0.2:
                fields[b"importance"] = self.choice(IMPORTANCE_TEXTS)
        while self.chance() < (0.2 if self.calm else 0.45):
            field = self.choice(list(fields))
            fields[field] = self.damaged(fields[field])
        if self.chance() < 0.02:
            fields.pop(self.choice(list(fields)))
        if self.chance() < 0.02:
            fields[self.choice([b"batch", b"records", b"record", b"target", b"\xff", b"importance", b"x"])] = (
                self.choice(self.pool)
            )
        return fields

    def item(self, records: bool) -> bytes:
        value = [
            self.choice(TARGETS[:7] if self.calm or self.chance() < 0.7 else TARGETS),
            self.record() if records else self.features(),
        ]
        if self.chance() < 0.15:
            value.append(self.choice(IMPORTANCES))
        if self.chance() < 0.02:
            value = self.value(3)
        packed = self.pack(value)
        if self.chance() < 0.01:
            packed = self.choice([b"\x92\x01", b"\x92", b"", b"\x93\x01\x81\xa1a"]) + self.nest()
        if len(self.pool) < 500:
            self.pool.append(packed)
        else:
            self.pool[self.rng.randrange(500)] = packed
        return packed

    def damaged(self, data: bytes) -> bytes:
        """Return bytes after one random change."""
        if not data:
            return bytes([self.choice(INTERESTING)])
        at = self.rng.randrange(len(data))
        return self.choice([
            lambda: data[:at] + bytes([data[at] ^ 1 << self.rng.randrange(8)]) + data[at + 1 :],
            lambda: data[:at] + bytes([self.choice(INTERESTING)]) + data[at + 1 :],
            lambda: data[:at] + bytes([self.choice(INTERESTING)]) + data[at:],
            lambda: data[:at],
            lambda: data[:at] + data[at + 1 + self.rng.randrange(4) :],
            lambda: data[:at] + data[at : at + 20] + data[at:],
            lambda: data[:at] + self.choice(self.pool) + data[at:],
            lambda: data[:at] + self.rng.randbytes(4) + data[at + 4 :],
            lambda: data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :],
            lambda: data + bytes([self.choice(INTERESTING)]),
        ])()  # fmt: skip


class Ext:
    """A msgpack extension."""

    def __init__(self, code: int, data: bytes) -> None:
        self.code, self.data = code, data

    def __str__(self) -> str:
        return "ext"
