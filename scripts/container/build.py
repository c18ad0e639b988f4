"""The steps of a Dockerfile, each stage in a root of its own."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .dockerfile import DockerfileError, Ignored, Instruction, Stage, assignments, expand
from .machine import Machine
from .roots import Mounts, StepFailed, inside, prepared, run, unpack

DEBIAN = "debian:12-slim"
NODE = "node:20-bookworm-slim"
"""Node.js comes from the machine here: Debian 12 has version 18, the pages need 20.19."""


@dataclass(slots=True)
class Built:
    """A stage that is done, or under way: its folder, and what later steps see."""

    stage: Stage
    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = ""


class Build:
    """Runs stages in `scratch`. `arguments` are what ``--build-arg`` gives."""

    def __init__(
        self,
        context: Path,
        scratch: Path,
        archive: Path,
        machine: Machine,
        arguments: Mapping[str, str],
    ) -> None:
        self._context = context
        self._scratch = scratch
        self._archive = archive
        self._machine = machine
        self._arguments = arguments
        self._ignored = Ignored((context / ".dockerignore").read_text())
        self._built: dict[str, Built] = {}

    def stage(self, stage: Stage) -> Built:
        """Every step of one stage, told on standard output with its seconds."""
        built = Built(stage, self._scratch / stage.name)
        self._base(built)
        with prepared(built.root, self._machine) as mounts:
            if stage.image == NODE:
                lend_node(mounts)
            count = len(stage.instructions)
            for number, step in enumerate(stage.instructions, 1):
                began = time.monotonic()
                try:
                    self._step(built, step)
                except StepFailed as error:
                    raise StepFailed(
                        f"Dockerfile, line {step.line}: {step.word}: {error}"
                    ) from None
                if (took := time.monotonic() - began) >= 0.1:
                    shown = step.text if len(step.text) < 60 else f"{step.text[:57]}..."
                    print(
                        f"  {stage.name} {number}/{count} {step.word} {shown}  {took:.1f} s",
                        flush=True,
                    )
        self._built[stage.name] = built
        return built

    def _base(self, built: Built) -> None:
        image = built.stage.image
        if image in self._built:
            known = self._built[image]
            run("cp", "-a", known.root, built.root)
            built.variables, built.folder, built.user = (
                dict(known.variables),
                known.folder,
                known.user,
            )
        elif image in {DEBIAN, NODE}:
            unpack(self._archive, built.root)
        else:
            raise DockerfileError(f"FROM {image}: only {DEBIAN}, {NODE} and stages are known here")

    def _step(self, built: Built, step: Instruction) -> None:
        seen = built.arguments | built.variables
        match step.word:
            case "RUN":
                self._run(built, step.text)
            case "COPY":
                self._copy(built, step, seen)
            case "ENV":
                built.variables |= assignments(step, seen)
            case "ARG":
                name, _, default = step.text.partition("=")
                built.arguments[name] = self._arguments.get(name, expand(default, seen))
            case "WORKDIR":
                built.folder = os.path.join(built.folder, expand(step.text, seen))  # noqa: PTH118
                within(built.root, built.folder).mkdir(parents=True, exist_ok=True)
            case "USER":
                built.user = expand(step.text, seen)
            case "VOLUME":
                within(built.root, expand(step.text, seen)).mkdir(parents=True, exist_ok=True)
            case _:
                pass  # says how the image runs, not what is in it

    def _run(self, built: Built, text: str) -> None:
        if built.user not in {"", "root", "0", "0:0"}:
            raise DockerfileError("RUN after USER is not understood")
        variables = self._machine.environment | built.arguments | built.variables
        run(*inside(built.root, built.folder, variables, "/bin/sh", "-c", text))

    def _copy(self, built: Built, step: Instruction, seen: Mapping[str, str]) -> None:
        *names, last = expand(step.text, seen).split()
        target = within(built.root, os.path.join(built.folder, last))  # noqa: PTH118
        as_folder = last.endswith("/") or len(names) > 1
        stage = step.flags.get("from")
        if stage is not None and stage not in self._built:
            raise DockerfileError(f"line {step.line}: COPY --from={stage}: no such stage before")
        for name in names:
            if stage is not None:
                source = within(self._built[stage].root, name)
                if source.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    run("cp", "-a", f"{source}/.", target)
                    continue
            else:
                source = self._context / name
                if source.is_dir():
                    self._copy_folder(PurePosixPath(name), target)
                    continue
                if self._ignored(PurePosixPath(name)):
                    raise StepFailed(f"{name} is left out by .dockerignore")
            if not source.is_file():
                raise StepFailed(f"{name} does not exist")
            into = target / source.name if as_folder or target.is_dir() else target
            into.parent.mkdir(parents=True, exist_ok=True)
            _file(source, into)

    def _copy_folder(self, name: PurePosixPath, target: Path) -> None:
        for where, folders, files in os.walk(self._context / name):
            here = PurePosixPath(where).relative_to(self._context)
            folders[:] = [folder for folder in folders if not self._ignored.whole(here / folder)]
            kept = [file for file in files if not self._ignored(here / file)]
            into = target / here.relative_to(name)
            if kept or not self._ignored(here):
                into.mkdir(parents=True, exist_ok=True)
            for file in kept:
                _file(Path(where, file), into / file)


def _file(source: Path, target: Path) -> None:
    """Contents and mode, as root's: who owned it outside does not count."""
    shutil.copy2(source, target, follow_symlinks=False)
    os.chown(target, 0, 0, follow_symlinks=False)


def within(root: Path, name: str) -> Path:
    """The place of an absolute name in the root; `DockerfileError` if it leaves it."""
    path = Path(os.path.normpath(root / name.lstrip("/")))
    if not path.is_relative_to(root):
        raise DockerfileError(f"{name} leaves the image")
    return path


def lend_node(mounts: Mounts) -> None:
    """The machine's Node.js and npm, shown where the image of Node.js has them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise StepFailed("the pages need Node.js 20.19 or newer with npm on this machine")
    package = next(
        (p for p in Path(npm).resolve().parents if (p / "bin/npm-cli.js").is_file()), None
    )
    if package is None:
        raise StepFailed(f"{npm} does not lead to npm's own folder")
    mounts.bind(Path(node).resolve(), Path("/usr/local/bin/node"))
    mounts.bind(package, Path("/usr/local/lib/node_modules/npm"))
    program = mounts.root / "usr/local/bin/npm"
    program.symlink_to("../lib/node_modules/npm/bin/npm-cli.js")
