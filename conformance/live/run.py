"""Runs Storm's servers against clients that are not Storm's own; see README.md."""

import argparse
import asyncio
import fnmatch
import importlib
import inspect
import os
import signal
import sys
import threading
import time
import traceback

import environment
from checks import Failed
from environment import HERE, Lacking
from node import Script
from servers import Storm

# What the checks of a module are called, and where they are.
MODULES = {
    "rude": "rude",
    "churn": "churn",
    "tcp": "plain_tcp",
    "tls": "over_tls",
    "websockets": "with_websockets",
    "tornado": "with_tornado",
    "ws": "with_ws.mjs",
    "browser": "in_browser.mjs",
}

# Checks that have not begun by then are given up, in seconds.
LATEST = 140


def main():
    options = parse_options()
    modules = [name for name in MODULES if wants_module(options.only, name)]
    if options.skip_browser:
        modules = [name for name in modules if name != "browser"]
    storm = Storm(environment.BINARIES, options.runtime)
    # As an exception, so that nothing that was started stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        prepare(modules)
        return run(storm, modules, options.only)
    except Lacking as lacking:
        print(f"run.py: {lacking}", file=sys.stderr)
        return 2
    finally:
        storm.kill_all()


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", metavar="NAME,..", type=lambda text: text.split(","), default=["*"],
        help="modules or checks, such as 'rude,ws.echo_*'",
    )
    parser.add_argument("--runtime", choices=["tokio", "smol", "async-std", "std"], default="tokio", help="which adapter")
    parser.add_argument("--skip-browser", action="store_true", help="leave Chromium out")
    return parser.parse_args()


def wants_module(patterns, module):
    return any(fnmatch.fnmatch(module, pattern.split(".")[0]) for pattern in patterns)


def wants(patterns, module, name):
    names = (module, f"{module}.{name}")
    return any(fnmatch.fnmatch(each, pattern) for pattern in patterns for each in names)


def prepare(modules):
    """Installs what is lacking, and goes on in the environment that has the packages."""
    environment.need_binaries()
    if "tls" in modules:
        environment.need_tools("openssl", "curl")
    if {"ws", "browser"} & set(modules):
        environment.need_node_packages()
    if "browser" in modules:
        environment.need_chromium()
    if {"tls", "websockets", "tornado"} & set(modules) and not environment.is_inside():
        python = str(environment.need_python_packages())
        os.execv(python, [python, *sys.argv])


class Board:
    """What became of the checks."""

    def __init__(self):
        self.lock = threading.Lock()
        self.start = time.monotonic()
        self.passed = 0
        self.failed = []

    def report(self, name, failure, remark, seconds):
        with self.lock:
            if failure is None:
                self.passed += 1
            else:
                self.failed.append(name)
            verdict = "ok  " if failure is None else "FAIL"
            text = " ".join((failure or remark or "").split())[:500]
            print(f"{verdict} {name:56} {seconds:6.2f} s  {text}".rstrip(), flush=True)

    def seconds(self):
        return time.monotonic() - self.start

    def is_late(self):
        return self.seconds() > LATEST


def run(storm, modules, patterns):
    board = Board()
    # A job is a callable and whether it may run beside the others.
    jobs = [job for module in modules for job in jobs_of(module, storm, patterns, board)]
    beside = [threading.Thread(target=job, daemon=True) for job, is_beside in jobs if is_beside]
    for thread in beside:
        thread.start()
    for job, is_beside in jobs:
        if not is_beside:
            job()
    # Each of them has a limit of its own.
    for thread in beside:
        thread.join()
    total = board.passed + len(board.failed)
    print(f"\n{total} checks, {board.passed} ok, {len(board.failed)} failed, "
          f"{board.seconds():.0f} s")
    for name in board.failed:
        print(f"  {name}")
    if total == 0:
        print("  no check has such a name")
    return 0 if total and not board.failed else 1


def jobs_of(module, storm, patterns, board):
    file = MODULES[module]
    if file.endswith(".mjs"):
        script = Script(file, storm)
        checks = [check for check in script.checks() if wants(patterns, module, check.name)]
        groups = [[check] for check in checks if check.beside]
        groups.append([check for check in checks if not check.beside])
        for group in filter(None, groups):
            yield bound(run_script, module, script, group, board), group[0].beside
    else:
        for check in importlib.import_module(file).CHECKS:
            if wants(patterns, module, check.name):
                yield bound(run_check, module, check, storm, board), check.beside


def bound(function, *arguments):
    return lambda: function(*arguments)


def run_script(module, script, checks, board):
    last = time.monotonic()

    def report(name, failure, remark):
        nonlocal last
        now = time.monotonic()
        board.report(f"{module}.{name}", failure, remark, now - last)
        last = now

    if board.is_late():
        for check in checks:
            report(check.name, "not begun: the run takes too long", "")
    else:
        script.run(checks, report)


def run_check(module, check, storm, board):
    """Runs a check in a thread of its own, which is left behind if it hangs."""
    outcome = ["not begun: the run takes too long", ""]

    def work():
        try:
            remark = check.run(storm)
            if inspect.iscoroutine(remark):
                remark = asyncio.run(remark)
            outcome[:] = [None, remark]
        except Failed as failure:
            outcome[0] = str(failure)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            outcome[0] = f"{type(error).__name__}: {error} ({frame.name}, line {frame.lineno})"

    start = time.monotonic()
    if not board.is_late():
        outcome[0] = f"given up after {check.limit:.0f} s"
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(check.limit)
    failure, remark = outcome
    board.report(f"{module}.{check.name}", failure, remark, time.monotonic() - start)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(HERE))
    sys.exit(main())
