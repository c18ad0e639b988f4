"""Root folders: a clean Debian 12 from debootstrap, and processes that see nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .machine import LENT, SUITE, Machine, apt_sources, mirror

# what debian:12-slim leaves out of its packages and cleans up after them, too
_SLIM = """\
path-exclude /usr/share/doc/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
path-include /usr/share/doc/*/copyright
"""
_APT_CLEAN = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
APT::AutoRemove::SuggestsImportant "false";
"""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class StepFailed(Exception):
    """A command ended with another code than 0. The message ends with its last output."""


def run(*command: str | Path, timeout: float = 600.0) -> None:
    """Run to the end, in silence; `StepFailed` if it fails or takes too long."""
    with tempfile.TemporaryFile() as log:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=timeout,
            )
            code: int | str = done.returncode
        except subprocess.TimeoutExpired:
            code = f"none within {timeout:g} s"
        if code != 0:
            log.seek(0)
            said = log.read().decode(errors="replace")[-6000:]
            raise StepFailed(f"{command[0]}: exit code {code}\n{said}")


def base(cache: Path, scratch: Path, *, fresh: bool) -> Path:
    """The archive of a minimal Debian 12, made by debootstrap where `cache` has none yet."""
    sources = apt_sources()
    recipe = hashlib.sha256("\n".join([_SLIM, _APT_CLEAN, *sources]).encode()).hexdigest()[:8]
    archive = cache / f"{SUITE}-{platform.machine()}-{recipe}.tar"
    if archive.exists() and not fresh:
        return archive
    root = scratch / "base"
    address = [found] if (found := mirror(sources)) else []
    run("debootstrap", "--variant=minbase", SUITE, root, *address)
    if sources:
        (root / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(_SLIM)
    (root / "etc/apt/apt.conf.d/slim").write_text(_APT_CLEAN)
    for emptied in (
        "var/cache/apt/archives",
        "var/lib/apt/lists",
        "usr/share/man",
        "usr/share/info",
    ):
        shutil.rmtree(root / emptied, ignore_errors=True)
        (root / emptied).mkdir()
    run("find", root / "usr/share/locale", "-mindepth", "1", "-delete")
    run("find", root / "usr/share/doc", "!", "-type", "d", "!", "-name", "copyright", "-delete")
    for said in ("etc/resolv.conf", "etc/hostname", "var/log/bootstrap.log"):
        (root / said).unlink(missing_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    half = archive.with_suffix(f".{os.getpid()}")
    try:
        run("tar", "--numeric-owner", "-C", root, "-cf", half, ".")
        half.replace(archive)
    finally:
        half.unlink(missing_ok=True)
        shutil.rmtree(root)
    return archive


def unpack(archive: Path, root: Path) -> None:
    """A new root from the archive."""
    root.mkdir()
    run("tar", "--numeric-owner", "-C", root, "-xpf", archive)


class Mounts:
    """What is mounted below a root for a while; taken away in reverse, with its mount points."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Mounts:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _place(self, name: Path, *, folder: bool) -> Path:
        target = self.root / name.relative_to("/")
        for parent in reversed(target.relative_to(self.root).parents[:-1]):
            if not (self.root / parent).exists():
                (self.root / parent).mkdir()
                self._undo.callback(_gone, self.root / parent)
        if not target.exists():
            if folder:
                target.mkdir()
            else:
                target.touch()
            self._undo.callback(_gone, target)
        return target

    def bind(self, source: Path, name: Path, *, read_only: bool = True) -> None:
        """Show `source` of the machine as `name` in the root."""
        target = self._place(name, folder=source.is_dir())
        run("mount", "--bind", source, target)
        self._undo.callback(run, "umount", target)
        if read_only:
            run("mount", "-o", "remount,bind,ro", target)

    def memory(self, name: Path, mode: str) -> Path:
        """An empty folder in memory."""
        target = self._place(name, folder=True)
        run("mount", "-t", "tmpfs", "-o", f"mode={mode},size=64m", "tmpfs", target)
        self._undo.callback(run, "umount", target)
        return target

    def seal(self) -> None:
        """Make the root itself read-only; what is mounted below it stays as it is."""
        run("mount", "--rbind", self.root, self.root)
        self._undo.callback(run, "umount", "--lazy", self.root)
        run("mount", "-o", "remount,bind,ro", self.root)

    def system(self) -> None:
        """/dev as a container has it, /proc, and how to find names."""
        devices = self.memory(Path("/dev"), "0755")
        for name in _DEVICES:
            self.bind(Path("/dev", name), Path("/dev", name), read_only=False)
        for name, where in {
            "fd": "fd",
            "stdin": "fd/0",
            "stdout": "fd/1",
            "stderr": "fd/2",
        }.items():
            (devices / name).symlink_to(f"/proc/self/{where}")
        self.memory(Path("/dev/shm"), "1777")
        self.bind(Path("/proc"), Path("/proc"), read_only=False)
        for name in ("resolv.conf", "hosts"):
            self.bind(Path("/etc", name), Path("/etc", name))


def _gone(path: Path) -> None:
    """Take away a mount point, unless a step has put something there."""
    with contextlib.suppress(OSError):
        if path.is_dir():
            path.rmdir()
        elif path.stat().st_size == 0:
            path.unlink()


@contextlib.contextmanager
def prepared(root: Path, machine: Machine) -> Iterator[Mounts]:
    """A root in which steps can run: with a system, and with what the machine lends."""
    with Mounts(root) as mounts:
        mounts.system()
        mounts.bind(machine.folder, LENT)
        for path in machine.binds:
            mounts.bind(path, path)
        yield mounts


def inside(root: Path, folder: str, variables: Mapping[str, str], *command: str) -> list[str]:
    """The command line that runs `command` in the root, with these variables and no others."""
    pairs = [
        f"{name}={value}"
        for name, value in ({"PATH": _PATH, "HOME": "/root"} | dict(variables)).items()
    ]
    return ["chroot", str(root), "/usr/bin/env", "-i", "-C", folder, *pairs, *command]
