"""The list of cases, the choice of some of them, and the verdicts on them."""

import csv
import json
import os
import pathlib
from dataclasses import dataclass

from wire import extensions

# As a server the suite takes these groups only on an offer that names what it
# wants to ask for, although RFC 7692 lets it ask for no context takeover anyway.
NEEDED_IN_OFFER = {
    "13.2": ("client_no_context_takeover",),
    "13.3": ("client_max_window_bits",),
    "13.4": ("client_max_window_bits",),
    "13.5": ("client_no_context_takeover", "client_max_window_bits"),
    "13.6": ("client_no_context_takeover", "client_max_window_bits"),
}
CASE_LIST = pathlib.Path(__file__).with_name("cases.tsv")


@dataclass(frozen=True)
class Case:
    id: str
    description: str
    allowed: tuple
    limit: float  # seconds that the case gives the peer


def load_cases():
    """All cases by id, in the order of the suite."""
    with CASE_LIST.open(encoding="ascii", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["case"]: read_case(row) for row in rows}


def read_case(row):
    allowed = tuple(row["allowed"].split(","))
    return Case(row["case"], row["description"], allowed, float(row["limit_s"]))


def matches(pattern, case_id):
    """Compare part by part: 1.* is not 10.1.1, and 12.*.1 names five cases."""
    wanted, parts = pattern.split("."), case_id.split(".")
    if wanted[-1] == "*":
        wanted = wanted[:-1]
        parts = parts[: len(wanted)]
    return len(wanted) == len(parts) and all(
        want in ("*", part) for want, part in zip(wanted, parts)
    )


def select(patterns, cases):
    """Cases that a comma separated list names; a leading ! leaves cases out.

    Raises ValueError on a pattern that names no case: a typing error must not
    pass as a run without failures.
    """
    wanted, unwanted = [], []
    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        (unwanted if pattern.startswith("!") else wanted).append(pattern.lstrip("!"))
    for pattern in wanted + unwanted:
        if not any(matches(pattern, case_id) for case_id in cases):
            raise ValueError(f"no case matches {pattern!r}")
    return [
        case
        for case in cases.values()
        if any(matches(pattern, case.id) for pattern in wanted or ["*"])
        and not any(matches(pattern, case.id) for pattern in unwanted)
    ]


def entry(case, behavior, close, details, ms=0):
    return {
        "case": case.id,
        "description": case.description,
        "behavior": behavior,
        "behaviorClose": close,
        "detail": "; ".join(details),
        "ms": ms,
    }


def missing(case, why):
    return entry(case, "MISSING", "MISSING", [why])


def judge(case, result, findings, ms, request, response):
    """One verdict from the suite's result and from what the relay saw.

    `result` is kosoku's CaseResult, or None where the suite never got so far.
    """
    if result is None:
        return entry(case, "FAILED", "FAILED", list(findings) or ["no verdict"], ms)
    behavior, close = result.behavior.value, result.behavior_close.value
    details = []
    if behavior == "UNIMPLEMENTED":
        details.append(deflate_terms(result, request, response))
    elif behavior not in ("OK", "INFORMATIONAL"):
        details.append(result.result)
    if close not in ("OK", "INFORMATIONAL"):
        details.append(close_detail(result))
    if behavior == "ERROR":
        behavior = "FAILED"
    if result.dropped_by_me and behavior != "INFORMATIONAL":
        # In many cases the suite waits for the peer to fail the connection, or
        # to answer a close frame. One that does neither passes some of them
        # when the suite gives up, so that is judged here.
        findings.note("did not end the connection; the suite gave up and dropped it")
    if findings:
        behavior = "FAILED"
    return entry(case, behavior, close, details + list(findings), ms)


def close_detail(result):
    text = result.result_close
    if result.remote_close_code is not None:
        text += f" (the peer sent {result.remote_close_code})"
    return text


def deflate_terms(result, request, response):
    """Why sections 12 and 13 found no common terms."""
    offered = "; ".join(request.all("sec-websocket-extensions")) or "nothing"
    answered = "; ".join(response.all("sec-websocket-extensions")) or "nothing"
    who = ("the peer", "the suite") if result.is_server else ("the suite", "the peer")
    text = f"{who[0]} offered {offered}, {who[1]} answered {answered}"
    named = {key for _, params in extensions(request) for key, _ in params}
    needed = NEEDED_IN_OFFER.get(result.case_id.rpartition(".")[0], ())
    lacking = [name for name in needed if name not in named]
    if result.is_server and lacking:
        text += f" (the case wants an offer that names {' and '.join(lacking)})"
    return text


class Board:
    """One entry for every selected case; a case that has not run is MISSING."""

    def __init__(self, cases):
        self.cases = cases
        self.entries = {case.id: missing(case, "did not run") for case in cases}

    def begin(self, case):
        """Say so in the entry, in case the run is stopped meanwhile."""
        if self.entries[case.id]["behavior"] == "MISSING":
            self.entries[case.id] = missing(case, "had not ended when the run was stopped")

    def put(self, verdict):
        """Keep a verdict. Of two runs of one case the worse one counts."""
        old = self.entries[verdict["case"]]
        if old["behavior"] in ("MISSING", "OK", "NON-STRICT", "INFORMATIONAL"):
            self.entries[verdict["case"]] = verdict

    def write(self, path):
        """Replace the file at once: a reader never sees half of it."""
        scratch = f"{path}.part"
        with open(scratch, "w", encoding="ascii") as file:
            json.dump(list(self.entries.values()), file, indent=1)
            file.write("\n")
        os.replace(scratch, path)

    def not_allowed(self, strict):
        """Ids of the cases whose verdict is not among the allowed ones."""
        return [case.id for case in self.cases if not self._allowed(case, strict)]

    def _allowed(self, case, strict):
        verdict = self.entries[case.id]
        if strict and verdict["behavior"] == "NON-STRICT":
            return False
        close_fine = verdict["behaviorClose"] in ("OK", "INFORMATIONAL")
        return verdict["behavior"] in case.allowed and close_fine

    def summary(self):
        counts = {}
        for verdict in self.entries.values():
            counts[verdict["behavior"]] = counts.get(verdict["behavior"], 0) + 1
        return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
