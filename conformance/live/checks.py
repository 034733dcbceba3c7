"""What a check is, and the words that checks are written in."""

import time
from collections.abc import Callable
from dataclasses import dataclass

# Generous, because the machine may be busy with other things: a check that waits
# for something to happen waits this long.
PATIENCE = 15.0


class Failed(Exception):
    """Storm, or the client, did not do what it should."""


@dataclass
class Check:
    """One check. `run` takes a `servers.Storm` and may return a remark to print."""

    name: str
    run: Callable
    # After so many seconds the runner gives it up.
    limit: float
    # It mostly waits for a deadline of Storm's, so it runs beside the others.
    beside: bool


def check(limit=40.0, beside=False):
    """Makes a function a check of its module, under its own name."""

    def register(run):
        module = run.__globals__
        module.setdefault("CHECKS", []).append(Check(run.__name__, run, limit, beside))
        return run

    return register


def expect(condition, what):
    if not condition:
        raise Failed(what)


def expect_equal(actual, expected, what):
    if actual != expected:
        raise Failed(f"{what}: expected {brief(expected)}, got {brief(actual)}")


def expect_between(actual, low, high, what):
    if not low <= actual <= high:
        raise Failed(f"{what}: expected {low:.1f} to {high:.1f}, got {actual:.2f}")


def brief(value):
    """`value` for a report: large ones by their start and size."""
    if isinstance(value, tuple):
        return f"({', '.join(map(brief, value))})"
    if isinstance(value, (bytes, bytearray, str)) and len(value) > 80:
        return f"{value[:24]!r}... ({len(value)} long)"
    return repr(value)


def wait_until(condition, what, limit=PATIENCE):
    """Waits for what no event tells: the state of another process."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"not within {limit:.0f} s: {what}")
        time.sleep(0.01)


def pattern(size):
    """Bytes in which a lost, doubled or shifted piece shows."""
    numbers = range((size + 3) // 4)
    return b"".join(number.to_bytes(4, "big") for number in numbers)[:size]
