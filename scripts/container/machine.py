"""What this machine needs to reach its package sources: mirrors, proxies, certificates.

It is lent to the steps through a folder in memory and through variables, and is in no image.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

LENT = Path("/run/machine")
"""Where the folder is mounted in a root."""
SUITE = "bookworm"
_SUITES = frozenset({SUITE, f"{SUITE}-updates", f"{SUITE}-security"})
_ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)")
_APT = re.compile(r"Acquire::(?:https?|Retries|Check-Valid-Until|Check-Date|ForceIPv[46])\b.*")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_ASK_TIMEOUT_S = 60.0


def apt_sources(folder: Path = Path("/etc/apt")) -> list[str]:
    """The machine's own lines for Debian 12, as ``deb URI suite main``; empty if it has none."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found: list[str] = []
    for file in files:
        if file.is_file() and file.suffix in {".list", ".sources"}:
            read = _deb822 if file.suffix == ".sources" else _one_line
            found += [f"deb {uri} {suite} main" for uri, suite in read(file.read_text())]
    return list(dict.fromkeys(found))


def _one_line(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.strip())
        if match and match[2] in _SUITES and "main" in match[3].split():
            yield match[1], match[2]


def _deb822(text: str) -> Iterator[tuple[str, str]]:
    for paragraph in re.split(r"\n\s*\n", text):
        lines = (line for line in paragraph.splitlines() if not line.startswith("#"))
        pairs = (line.partition(":") for line in lines)
        fields = {name.strip().lower(): value.split() for name, _, value in pairs}
        if "deb" not in fields.get("types", []) or fields.get("enabled") == ["no"]:
            continue
        if "main" not in fields.get("components", []):
            continue
        for uri in fields.get("uris", []):
            for suite in fields.get("suites", []):
                if suite in _SUITES:
                    yield uri, suite


def mirror(sources: list[str]) -> str | None:
    """The address of the suite itself, None to leave the choice to debootstrap."""
    words = (line.split() for line in sources)
    return next((uri for _, uri, suite, _ in words if suite == SUITE), None)


def certificates() -> Path | None:
    """The bundle this machine trusts."""
    for name in (os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"):
        if name and Path(name).is_file():
            return Path(name)
    return None


def _asked(*command: str) -> str:
    """What a tool says about itself; nothing if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def pip_settings(listed: str) -> dict[str, dict[str, str]]:
    """Sections of a pip.conf from the output of ``pip config list``; variables win."""
    found: dict[str, dict[str, str]] = {"global": {}}
    from_environment: dict[str, str] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if not section or name == "cert":
            continue
        try:
            said = " ".join(str(ast.literal_eval(value)).split())
        except (SyntaxError, ValueError):
            continue
        chosen = from_environment if section == ":env:" else found.setdefault(section, {})
        chosen[name] = said
    found["global"] |= from_environment
    return found


def local_paths(settings: dict[str, dict[str, str]]) -> list[Path]:
    """Folders of this machine that pip is told to look in."""
    texts = (text for section in settings.values() for text in section.values())
    found: set[Path] = set()
    for word in (word for text in texts for word in text.split()):
        path = Path(unquote(urlsplit(word).path) if word.startswith("file:") else word)
        if path.is_absolute() and path.is_dir():
            # an index points to files beside it
            found.add(path.parent if path.name == "simple" else path)
    return sorted(found)


class Machine:
    """Writes what is lent into `folder`; `environment` and `binds` say how a step gets at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}
        self.binds: list[Path] = []
        folder.mkdir(mode=0o700)
        self._certificates()
        self._pip()
        self._npm()
        self._apt()
        for name in _PROXIES:
            for spelt in (name, name.upper()):
                if spelt in os.environ:
                    self.environment[spelt] = os.environ[spelt]

    def _lend(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(LENT / name)

    def _certificates(self) -> None:
        bundle = certificates()
        if bundle is not None:
            shutil.copyfile(bundle, self.folder / "ca.crt")
            lent = str(LENT / "ca.crt")
            for name in ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS", "npm_config_cafile"):
                self.environment[name] = lent

    def _pip(self) -> None:
        listed = _asked(sys.executable, "-m", "pip", "config", "list")
        settings = pip_settings(listed or _asked("pip3", "config", "list"))
        config = configparser.RawConfigParser()
        config.read_dict(settings)
        with (self.folder / "pip.conf").open("w") as file:
            config.write(file)
        self.environment["PIP_CONFIG_FILE"] = str(LENT / "pip.conf")
        self.binds = local_paths(settings)

    def _npm(self) -> None:
        files = (
            Path(_asked("npm", "config", "get", f"{k}config").strip()) for k in ("global", "user")
        )
        lines = [line for file in files if file.is_file() for line in file.read_text().splitlines()]
        kept = [
            line for line in lines if not line.startswith(("cafile", "prefix", "cache", "nodedir"))
        ]
        self.environment["npm_config_userconfig"] = self._lend("npmrc", "\n".join(kept) + "\n")
        for name, value in os.environ.items():
            if name.lower() in {
                "npm_config_registry",
                "npm_config_proxy",
                "npm_config_https_proxy",
            }:
                self.environment[name] = value

    def _apt(self) -> None:
        dumped = _asked("apt-config", "dump").splitlines()
        lines = [line for line in dumped if _APT.fullmatch(line) and "::CAInfo" not in line]
        if certificates() is not None:
            lines.append(f'Acquire::https::CAInfo "{LENT / "ca.crt"}";')
        self.environment["APT_CONFIG"] = self._lend("apt.conf", "\n".join(lines) + "\n")
