"""What the checks need beside Storm: installed on the first run, below target/."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent.parent / "target").resolve()
BINARIES = TARGET / "release"
WORK = TARGET / "conformance" / "live"
VENV = WORK / "venv"
MODULES = WORK / "node"
CHROMIUM = Path("/usr/bin/chromium")

BUILD = "cargo build --release -p conformance -p storm-tokio --bins --examples"


class Lacking(Exception):
    """Something is not there and cannot be had."""


def need_binaries():
    for binary in [BINARIES / "conformance", BINARIES / "examples" / "chat"]:
        if not binary.is_file():
            raise Lacking(f"{binary} is not there; build it first:\n    {BUILD}")


def need_tools(*names):
    for name in names:
        if not shutil.which(name):
            install(name, f"{name} is not there; install it")


def is_inside():
    """True in the Python environment that has the packages."""
    return Path(sys.prefix).resolve() == VENV.resolve()


def need_python_packages():
    """Returns the Python that has them."""
    python = VENV / "bin" / "python"
    requirements = (HERE / "requirements.txt").read_text()
    mark = VENV / "requirements.txt"
    if not mark.is_file() or mark.read_text() != requirements:
        say("installing Python packages")
        run(sys.executable, "-m", "venv", "--clear", VENV)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        run(*pip, "--require-hashes", "-r", HERE / "requirements.txt")
        mark.write_text(requirements)
    return python


def need_node_packages():
    if not shutil.which("node") or not shutil.which("npm"):
        raise Lacking("node and npm are not there; --only leaves those checks out")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    if all(installed(name) == version for name, version in wanted.items()):
        return
    say("installing Node packages")
    MODULES.mkdir(parents=True, exist_ok=True)
    for name in ["package.json", "package-lock.json"]:
        shutil.copy(HERE / name, MODULES)
    run("npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", cwd=MODULES)


def installed(package):
    """The version of a Node package, if it is there."""
    try:
        description = MODULES / "node_modules" / package / "package.json"
        return json.loads(description.read_text())["version"]
    except OSError:
        return None


def need_chromium():
    if not CHROMIUM.is_file():
        install("chromium", f"{CHROMIUM} is not there; install it, or use --skip-browser")


def install(package, otherwise):
    """Installs a package of the system's, where that can be done."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Lacking(otherwise)
    say(f"installing {package}")
    run("apt-get", "update", "-qq", stdout=subprocess.DEVNULL)
    command = ["apt-get", "install", "-qq", "--no-install-recommends", package]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(*command, env=quiet, stdout=subprocess.DEVNULL)


def run(*command, **options):
    status = subprocess.run([str(part) for part in command], **options).returncode
    if status:
        raise Lacking(f"{' '.join(map(str, command))} failed: {status}")


def say(text):
    print(f"{text} (once)", file=sys.stderr, flush=True)
