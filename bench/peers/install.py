"""Installs the peers into `.cache/bench-peers`, apart from everything else: an environment for Python, one for node."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DIRECTORY = HERE.parents[1] / ".cache" / "bench-peers"
PYTHON = DIRECTORY / "python" / "bin" / "python"
NODE = DIRECTORY / "node"


def install() -> None:
    """Install what is missing; without node and npm, the peer that needs them is left out."""
    _install_once(PYTHON.parents[1], HERE / "requirements.txt", _install_python)
    if has_node():
        _install_once(NODE, HERE / "fastify" / "package.json", _install_node)


def has_node() -> bool:
    """Whether the peers in JavaScript can run."""
    return shutil.which("node") is not None and shutil.which("npm") is not None


def _install_once(directory: Path, pinned: Path, install_into: object) -> None:
    assert callable(install_into)
    done = directory / "installed"
    if done.exists() and done.read_bytes() == pinned.read_bytes():
        return
    shutil.rmtree(directory, ignore_errors=True)
    install_into(directory, pinned)
    done.write_bytes(pinned.read_bytes())


def _install_python(directory: Path, requirements: Path) -> None:
    # The same interpreter as the service's: its build decides a tenth of all figures.
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    subprocess.run([base, "-m", "venv", directory], check=True)
    subprocess.run([directory / "bin" / "pip", "install", "--quiet", "--requirement", requirements], check=True)


def _install_node(directory: Path, package: Path) -> None:
    directory.mkdir(parents=True)
    shutil.copy(package, directory)
    command = ["npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(command, cwd=directory, check=True)


if __name__ == "__main__":
    install()
