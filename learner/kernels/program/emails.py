"""The parts and faults of an e-mail address: see `featurizers.emails`."""

import numpy as np

from learner.kernels.jit import compiled, no, yes
from learner.kernels.program.layout import (
    ALPHANUMERIC,
    AT,
    BACKSLASH,
    BRACKET,
    CANNOT,
    DASH,
    DIGIT,
    DOT,
    FAULT,
    N_FAULTS,
    QUOTE,
)
from learner.kernels.program.strings import is_of
from learner.kernels.program.writing import add, add_slice, add_text, begin_name, copy_case

(
    LOCAL_NONE, LOCAL_QUOTED, LOCAL_PLAIN, DOMAIN_NONE, DOMAIN, SUFFIX, FAULTLESS, LABELS,
) = range(4, 12)  # fmt: skip
(
    LOCAL_LENGTH_FAULT, LOCAL_NONE_FAULT, LOCAL_QUOTES_FAULT, LOCAL_FAULT, LOCAL_DOTS_FAULT, LOCAL_DOT_FAULT,
    DOMAIN_NONE_FAULT, DOMAIN_FAULT, LABEL_NONE_FAULT, LABEL_DASH_FAULT, LABEL_LENGTH_FAULT, SUFFIX_FAULT, ADDRESS_FAULT,
    LOCAL_RIGHT, DOMAIN_RIGHT,
) = range(20, 35)  # fmt: skip
MAX_ADDRESS, MAX_LOCAL, MAX_LABEL = 254, 64, 63


@compiled
def is_quoted(buffer, start, length):
    """Tell whether a local part is a quoted string."""
    if length < 2 or buffer[start + length - 1] != QUOTE:
        return False
    i, end = start + 1, start + length - 1
    while i < end:
        c = buffer[i]
        if c == BACKSLASH:
            i += 1
            if i >= end or buffer[i] < 32 or buffer[i] > 126:
                return False
        elif c == QUOTE or c < 32 or c == 127:
            return False
        i += 1
    return True


@compiled
def add_fault(is_wrong, text, program, work):
    """Add a fault, if there is one."""
    if is_wrong:
        work.marks[N_FAULTS] += 1
        add_text(text, 1.0, program, work)


@compiled
def add_wrong(buffer, start, length, text, right, program, work):
    """Add a fault for each character that is neither a letter nor a digit nor in the text of right ones."""
    for i in range(start, start + length):
        is_right = is_of(buffer[i], ALPHANUMERIC, program)
        for k in range(program.spans[right], program.spans[right + 1]):
            is_right |= buffer[i] == program.texts[k]
        if not is_right:
            work.marks[N_FAULTS] += 1
            add_slice(text, buffer, i, np.int64(1), program, work)


@compiled
def add_local_faults(buffer, start, length, op, program, work):
    """Add the faults of a local part."""
    add_fault(length > MAX_LOCAL, op.text + LOCAL_LENGTH_FAULT, program, work)
    if length == 0:
        add_fault(yes(), op.text + LOCAL_NONE_FAULT, program, work)
    elif buffer[start] == QUOTE:
        add_fault(not is_quoted(buffer, start, length), op.text + LOCAL_QUOTES_FAULT, program, work)
    else:
        add_wrong(buffer, start, length, op.text + LOCAL_FAULT, op.text + LOCAL_RIGHT, program, work)
        dots = no()
        for i in range(start, start + length - 1):
            dots |= buffer[i] == DOT and buffer[i + 1] == DOT
        add_fault(dots, op.text + LOCAL_DOTS_FAULT, program, work)
        at_end = buffer[start] == DOT or buffer[start + length - 1] == DOT
        add_fault(at_end, op.text + LOCAL_DOT_FAULT, program, work)


@compiled
def add_domain_faults(buffer, start, length, op, program, work):
    """Add the faults of a domain."""
    if length == 0:
        add_fault(yes(), op.text + DOMAIN_NONE_FAULT, program, work)
        return
    add_wrong(buffer, start, length, op.text + DOMAIN_FAULT, op.text + DOMAIN_RIGHT, program, work)
    is_empty, has_dash, is_long, digits = no(), no(), no(), yes()
    first = start  # of the label
    for i in range(start, start + length + 1):
        if i < start + length and buffer[i] != DOT:
            digits &= is_of(buffer[i], DIGIT, program)
            continue
        is_empty |= i == first
        has_dash |= i > first and (buffer[first] == DASH or buffer[i - 1] == DASH)
        is_long |= i - first > MAX_LABEL
        if i < start + length:
            first, digits = i + 1, yes()
    add_fault(is_empty, op.text + LABEL_NONE_FAULT, program, work)
    add_fault(has_dash, op.text + LABEL_DASH_FAULT, program, work)
    add_fault(is_long, op.text + LABEL_LENGTH_FAULT, program, work)
    add_fault(digits and first < start + length, op.text + SUFFIX_FAULT, program, work)


@compiled
def add_domain(buffer, start, length, op, program, work):
    """Add the domain, the number of its labels, and the last label."""
    if length == 0:
        add_text(op.text + DOMAIN_NONE, 1.0, program, work)
        return
    n_labels, suffix, end = 1, start, start + length
    for i in range(start, end):
        if buffer[i] == DOT:
            n_labels += 1
            suffix = i + 1
    at = begin_name(op.text + DOMAIN, length, program, work)
    if at >= 0:
        add(copy_case(buffer, start, length, yes(), work.out, at), 1.0, no(), program, work)
    add_text(op.text + LABELS + min(n_labels, 9) - 1, 1.0, program, work)
    at = begin_name(op.text + SUFFIX, end - suffix, program, work)
    if at >= 0:
        add(copy_case(buffer, suffix, end - suffix, yes(), work.out, at), 1.0, no(), program, work)


@compiled
def add_email(buffer, op, program, work):
    """Do `email_parts` of ASCII; not of an address whose domain is in brackets."""
    start, end = op.start, op.start + op.length
    n_at, domain = 0, start
    for i in range(start, end):
        if buffer[i] == AT:
            n_at += 1
            domain = i + 1
    if domain < end and buffer[domain] == BRACKET:
        work.marks[FAULT] = CANNOT
        return
    n_local, n_domain = max(domain - 1 - start, 0), end - domain
    add_text(op.text + min(n_at, 3), 1.0, program, work)
    kind = LOCAL_NONE if n_local == 0 else LOCAL_QUOTED if buffer[start] == QUOTE else LOCAL_PLAIN
    add_text(op.text + kind, 1.0, program, work)
    add_domain(buffer, domain, n_domain, op, program, work)
    work.marks[N_FAULTS] = 0
    add_local_faults(buffer, start, n_local, op, program, work)
    add_domain_faults(buffer, domain, n_domain, op, program, work)
    add_fault(op.length > MAX_ADDRESS, op.text + ADDRESS_FAULT, program, work)
    if work.marks[N_FAULTS] == 0:
        add_text(op.text + FAULTLESS, 1.0, program, work)
