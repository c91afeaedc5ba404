"""LLVM intrinsics: pointers, loads and stores of unaligned words, reinterpreted bits, prefetching, and 128-bit products.

With the JIT off the same functions are plain Python.
"""

import struct
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from learner.kernels.jit import JIT, inlined

__all__ = [
    "GOLDEN", "HALF", "MISSING", "NOTHING", "ONE", "PRIME", "blend", "float32_of", "float64_of", "load", "multiply", "pointer",
    "prefetch", "readable", "spread", "store", "swap",
]  # fmt: skip

# Arrays are indexed by uint64: numba checks a signed index for being negative at every access.
ONE, HALF, NOTHING, MISSING = np.uint64(1), np.uint64(32), np.uint64(0), np.uint64((1 << 64) - 1)
PRIME = (1 << 61) - 1
GOLDEN = np.uint64(0x9E3779B97F4A7C15)

if JIT:
    from llvmlite import ir

    def _place(context: Any, builder: Any, kind: Any, buffer: Any, position: Any) -> Any:
        """Return the address of the word at a position of a byte array, or of the bytes that a pointer points to."""
        is_pointer = isinstance(kind, types.CPointer)
        data = buffer if is_pointer else context.make_array(kind)(context, builder, buffer).data
        return builder.bitcast(builder.gep(data, [position]), ir.IntType(64).as_pointer())

    @intrinsic
    def pointer(typingctx: Any, array: Any) -> Any:
        """Return the address of an array's first element, which is indexed as the array is.

        As an argument it is one word, where an array of one dimension is seven; nothing checks bounds or negative indices.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.make_array(signature.args[0])(context, builder, args[0]).data

        return types.CPointer(array.dtype)(array), codegen

    @intrinsic
    def readable(typingctx: Any, buffer: Any) -> Any:
        """Return the number of bytes of an array; of a pointer, whose owner sees to it that words may be read, the largest."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if isinstance(signature.args[0], types.CPointer):
                return context.get_constant(types.int64, (1 << 63) - 1)
            return context.make_array(signature.args[0])(context, builder, args[0]).nitems

        return types.int64(buffer), codegen

    @intrinsic
    def load(typingctx: Any, buffer: Any, position: Any) -> Any:
        """Return the 8 bytes at a position of a byte array as a little-endian uint64; the caller checks the bounds."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(_place(context, builder, signature.args[0], *args))
            value.align = 1
            return value

        return types.uint64(buffer, types.int64), codegen

    @intrinsic
    def store(typingctx: Any, buffer: Any, position: Any, word: Any) -> Any:
        """Write a uint64 to 8 bytes of a byte array, little-endian; the caller checks the bounds."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], _place(context, builder, signature.args[0], *args[:2])).align = 1
            return context.get_dummy_value()

        return types.void(buffer, types.int64, types.uint64), codegen

    @intrinsic
    def swap(typingctx: Any, word: Any) -> Any:
        """Return a uint64 with its bytes reversed."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bswap(args[0])

        return types.uint64(types.uint64), codegen

    @intrinsic
    def float64_of(typingctx: Any, word: Any) -> Any:
        """Return the float64 whose bits are the word."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], ir.DoubleType())

        return types.float64(types.uint64), codegen

    @intrinsic
    def float32_of(typingctx: Any, word: Any) -> Any:
        """Return, as float64, the float32 whose bits are the low half of the word."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            low = builder.trunc(args[0], ir.IntType(32))
            return builder.fpext(builder.bitcast(low, ir.FloatType()), ir.DoubleType())

        return types.float64(types.uint64), codegen

    @intrinsic
    def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
        """Ask the processor to fetch the cache line of an array's element; this changes no values."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
            function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
                builder.module, kind, "llvm.prefetch.p0"
            )
            builder.call(function, [address, number(0), number(3), number(1)])
            return context.get_dummy_value()

        return types.void(array, types.uint64), codegen

    @intrinsic
    def multiply(typingctx: Any, a: Any, b: Any) -> Any:
        """Return a number congruent to ``a * b`` modulo 2^61 - 1; it is below 2^63 for ``a < 2^62`` and ``b < 2^61``."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            wide, narrow = ir.IntType(128), ir.IntType(64)
            product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
            low = builder.and_(builder.trunc(product, narrow), ir.Constant(narrow, PRIME))
            high = builder.trunc(builder.lshr(product, ir.Constant(wide, 61)), narrow)
            return builder.add(low, high)

        return types.uint64(types.uint64, types.uint64), codegen

    @inlined
    def spread(h: Any) -> Any:
        """Return a hash of which every bit depends on all bits of h (multiplicative: Knuth, 1998, volume 3, section 6.4)."""
        h = (h ^ (h >> HALF)) * GOLDEN
        return h ^ (h >> HALF)

    @inlined
    def blend(a: Any, b: Any) -> Any:
        """Return the hash of two hashes, in order, never 0."""
        return max(spread(spread(a) + b), ONE)

else:

    def pointer(array: Any) -> Any:
        """Return the array itself: plain Python has no pointers."""
        return array

    def readable(buffer: Any) -> int:
        """Return the number of bytes of an array."""
        return len(buffer)

    def store(buffer: Any, position: int, word: Any) -> None:
        """Write a uint64 to 8 bytes of a byte array, little-endian."""
        buffer[position : position + 8] = np.frombuffer(int(word).to_bytes(8, "little"), np.uint8)

    def load(buffer: Any, position: int) -> Any:
        """Return the 8 bytes at a position of a byte array as a little-endian uint64."""
        return np.uint64(int.from_bytes(buffer[position : position + 8].tobytes(), "little"))

    def swap(word: Any) -> Any:
        """Return a uint64 with its bytes reversed."""
        return np.uint64(int.from_bytes(int(word).to_bytes(8, "little"), "big"))

    def float64_of(word: Any) -> float:
        """Return the float64 whose bits are the word."""
        return float(struct.unpack("<d", int(word).to_bytes(8, "little"))[0])

    def float32_of(word: Any) -> float:
        """Return, as float64, the float32 whose bits are the low half of the word."""
        return float(struct.unpack("<f", (int(word) & 0xFFFFFFFF).to_bytes(4, "little"))[0])

    def prefetch(array: Any, index: Any) -> None:
        """Do nothing: plain Python can't prefetch."""

    def multiply(a: Any, b: Any) -> Any:
        """Return a number congruent to ``a * b`` modulo 2^61 - 1."""
        product = int(a) * int(b)
        return np.uint64((product & PRIME) + (product >> 61))

    def spread(h: Any) -> Any:
        """Return a hash of which every bit depends on all bits of h."""
        h = (int(h) ^ int(h) >> 32) * int(GOLDEN) & (1 << 64) - 1
        return np.uint64(h ^ h >> 32)

    def blend(a: Any, b: Any) -> Any:
        """Return the hash of two hashes, in order, never 0."""
        return max(spread(int(spread(a)) + int(b) & (1 << 64) - 1), ONE)
