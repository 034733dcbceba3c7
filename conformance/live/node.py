"""Runs the checks that are written for Node, and gives them the servers they ask for."""

import json
import os
import subprocess
import threading

from checks import PATIENCE, Check, Failed
from environment import CHROMIUM, HERE, MODULES, Lacking


class Script:
    """A script of checks; see script.mjs for how it talks."""

    def __init__(self, name, storm):
        self.path = HERE / name
        self.storm = storm

    def checks(self):
        """What the script has to offer."""
        listed = subprocess.run(
            self.command("--list"), env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, timeout=60,
        )
        if listed.returncode:
            raise Lacking(f"node cannot run {self.path.name}")
        return [Check(each["name"], None, each["limit"], each["beside"])
                for each in json.loads(listed.stdout)]

    def run(self, checks, report):
        """Runs `checks` one after the other; calls report(name, failure, remark) for each."""
        Run(self, checks, report).run()

    def command(self, *arguments):
        return ["node", str(self.path), *arguments]


class Run:
    """One process of a script."""

    def __init__(self, script, checks, report):
        self.storm = script.storm
        self.report = report
        self.missing = [check.name for check in checks]
        self.servers = {}
        self.process = subprocess.Popen(
            script.command(*self.missing), env=environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        # Each check has a limit of its own; this is for a process that does not keep them.
        self.limit = PATIENCE + max(check.limit for check in checks) + 5 * len(checks)

    def run(self):
        late = threading.Timer(self.limit, self.process.terminate)
        late.start()
        try:
            for line in self.process.stdout:
                self.take(json.loads(line))
        finally:
            late.cancel()
            self.end()
        for name in self.missing:
            self.report(name, f"node ended with {self.process.returncode} before it", "")

    def take(self, said):
        if "ask" in said:
            try:
                answer = self.answer(said)
            except Failed as failure:
                answer = {"error": str(failure)}
            print(json.dumps(answer), file=self.process.stdin, flush=True)
        else:
            self.missing.remove(said["check"])
            complaint = self.end_servers()
            self.report(said["check"], said["failure"] or complaint, said["remark"])

    def answer(self, said):
        match said["ask"]:
            case "echo":
                return self.started(self.storm.echo(*said["options"]))
            case "chat":
                address = said.get("address")
                return self.started(self.storm.chat(*([address] if address else [])))
        server = self.servers[said["pid"]]
        match said["ask"]:
            case "stop":
                server.ask_to_stop()
                return {"code": server.wait(PATIENCE)}
            case "kill":
                server.asked_to_stop = True
                server.kill()
                return {}
            case "descriptors":
                return {"count": server.descriptors()}

    def started(self, server):
        self.servers[server.pid] = server
        return {"url": server.url, "pid": server.pid}

    def end_servers(self):
        """Ends what the check started; returns what was wrong with it."""
        complaint = None
        for server in self.servers.values():
            try:
                server.end()
            except Failed as failure:
                complaint = str(failure)
        self.servers.clear()
        return complaint

    def end(self):
        self.end_servers()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)


def environment():
    return {**os.environ, "LIVE_MODULES": str(MODULES), "LIVE_CHROMIUM": str(CHROMIUM)}
