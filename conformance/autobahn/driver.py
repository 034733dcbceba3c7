"""Runs the Autobahn test cases against a WebSocket server or client.

    driver.py server --url ws://127.0.0.1:9001 --cases '1.*,2.*' --out FILE
    driver.py client --listen 127.0.0.1:0 --cases '*,!12.*,!13.*' --out FILE

`server` plays a fuzzing client against the server at --url. `client` plays a
fuzzing server: it prints one line, `listening on ws://HOST:PORT`, and waits for
a client that speaks the protocol of the suite's own clients (/getCaseCount,
/runCase?case=I&agent=A, /updateReports).

FILE becomes a JSON array with one object per selected case, in suite order:

    {"case": "1.1.1", "description": ..., "behavior": ..., "behaviorClose": ...,
     "detail": why it is not OK, "ms": time taken}

behavior is OK, NON-STRICT, INFORMATIONAL, UNIMPLEMENTED, FAILED, or MISSING for
a case that did not run. behaviorClose is the suite's word on how the connection
ended: OK, INFORMATIONAL, WRONG CODE, UNCLEAN, FAILED BY CLIENT, FAILED, MISSING.
The exit status is 0 if every case has a behavior that cases.tsv allows for it
and a behaviorClose that is OK or INFORMATIONAL, 1 if not, and 2 if the driver
could not be started as asked.

The cases themselves are the original ones, driven by the package kosoku 0.1.0.
Beside it the driver

- mends cases that kosoku sends or judges differently from the original
  (mend.py): twice encoded payloads, lacking empty fragments, uncompressed
  messages beside compressed ones, contents of large echoes;
- puts a relay between kosoku and the peer (tap.py), which judges the peer's
  own handshake and frames (wire.py), sees whether TCP is really closed, always
  takes what the peer sends, and can speak TLS;
- fails a case in which the suite had to drop the connection itself;
- gives every case, the handshake and the whole run a limit of their own;
- accounts for every selected case.
"""

import argparse
import asyncio
import signal
import sys

import mend
import roles
from verdict import Board, load_cases, select

# The report has them all; a terminal needs no more than this.
MOST_LINES = 40


def main():
    options = parse_options()
    try:
        left_out = [f"!{name}" for text in options.exclude for name in text.split(",")]
        patterns = ",".join([options.cases, *left_out])
        board = Board(select(patterns, load_cases()))
        mend.install()
        asyncio.run(run(options, board))
    except (ValueError, OSError) as error:
        print(f"driver.py: {error}", file=sys.stderr)
        return 2
    bad = board.not_allowed(options.strict)
    print(f"{len(board.cases)} cases: {board.summary()}", file=sys.stderr)
    for case_id in bad[:MOST_LINES]:
        print(f"  {describe(board.entries[case_id])}", file=sys.stderr)
    if len(bad) > MOST_LINES:
        print(f"  and {len(bad) - MOST_LINES} more", file=sys.stderr)
    return 1 if bad else 0


def describe(verdict):
    parts = [verdict["case"], verdict["behavior"]]
    if verdict["behaviorClose"] != "OK":
        parts.append(f"close {verdict['behaviorClose']}")
    return f"{', '.join(parts)}: {verdict['detail'][:300]}"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    role = parser.add_subparsers(dest="role", required=True)
    server = role.add_parser("server", help="test a server")
    server.add_argument("--url", required=True, help="ws or wss URL of the server")
    server.add_argument("--parallel", type=int, default=8, help="cases at once")
    server.add_argument("--ca", metavar="FILE", help="certificates to trust for wss")
    client = role.add_parser("client", help="test a client")
    client.add_argument("--listen", required=True, metavar="HOST:PORT")
    client.add_argument("--cert", metavar="FILE", help="speak TLS with this certificate")
    client.add_argument("--key", metavar="FILE", help="its private key")
    client.add_argument(
        "--idle",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="end when the client has not come back for so long",
    )
    for parser_of_role in (server, client):
        add_common_options(parser_of_role)
    return parser.parse_args()


def add_common_options(parser):
    parser.add_argument(
        "--cases", default="*", help="comma separated: *, 1.*, 6.4.*, 7.7.1, !9.*"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="CASES", help="leave out"
    )
    parser.add_argument(
        "--timeout", type=float, default=1800.0, metavar="SECONDS", help="of the whole run"
    )
    parser.add_argument("--strict", action="store_true", help="do not allow NON-STRICT")
    parser.add_argument("--out", required=True, metavar="FILE")


async def run(options, board):
    """Run the cases and write the report, however the run ends."""
    work = asyncio.create_task(start(options, board))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        await asyncio.wait_for(work, options.timeout)
    except TimeoutError:
        print(f"stopped after {options.timeout:.0f} s", file=sys.stderr)
    except asyncio.CancelledError:
        print("stopped by a signal", file=sys.stderr)
    finally:
        board.write(options.out)


async def start(options, board):
    if options.role == "server":
        await roles.ServerUnderTest(options.url, board, options.parallel, options.ca).run()
        return
    peer = roles.ClientUnderTest(board, options.idle, options.cert, options.key)
    host, _, port = options.listen.rpartition(":")
    bound = peer.listen(host.strip("[]"), int(port))
    scheme = "wss" if options.cert else "ws"
    print(f"listening on {scheme}://{host}:{bound}", flush=True)
    await peer.run()


if __name__ == "__main__":
    sys.exit(main())
