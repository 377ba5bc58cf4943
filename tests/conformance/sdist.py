"""Source distributions: fetched from PyPI when their tests run, and checked, because nothing of them is kept here.

Owns: fetching a release by its hash; Celery's, and what is unpacked of it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

VERSION = "5.7.0"
SHA256 = "6a5dfcf6662287204f009a02002b9e66c83d4105e47ebabdc7079108772fc6f0"
#: Celery's tests, as a package named ``t``; its own conftest stays in the archive, because ours takes its place.
TESTS = f"celery-{VERSION}/t/"
THEIR_CONFTEST = f"{TESTS}unit/conftest.py"
OURS = '"""Under Celery\'s name for it: the fixtures of ours."""\n\nfrom celery_fixtures import *\n'


def tests(home: Path) -> Path:
    """The folder that holds the package ``t``, below this one. What an earlier run left there is made anew."""
    archive = fetched("celery", VERSION, SHA256, home)
    root = home / "suite"
    shutil.rmtree(root, ignore_errors=True)
    with tarfile.open(archive) as opened:
        wanted = [one for one in opened.getmembers() if one.name.startswith(TESTS) and one.name != THEIR_CONFTEST]
        opened.extractall(root, wanted, filter="data")
    package = root / f"celery-{VERSION}"
    (package / "t" / "unit" / "conftest.py").write_text(OURS)
    return package


def fetched(name: str, version: str, sha256: str, home: Path) -> Path:
    """The archive of a release, which stays where it is for the next run. What pip brings is held against the hash."""
    archive = _archive(name, version, home)
    if archive is None or _sha256(archive) != sha256:
        _download(name, version, sha256, home)
        archive = _archive(name, version, home)
    if archive is None or _sha256(archive) != sha256:  # once more, whatever pip did
        raise SystemExit(f"{archive or name} is not the source distribution of {name} {version}, so no test is run")
    return archive


def _archive(name: str, version: str, home: Path) -> Path | None:
    """Its file, whose name has hyphens or underscores, as its builder had it."""
    wanted = f"{name}-{version}.tar.gz".replace("-", "_")
    return next((path for path in home.glob("*.tar.gz") if path.name.replace("-", "_") == wanted), None)


def _download(name: str, version: str, sha256: str, home: Path) -> None:
    """Have pip fetch it. pip holds it against the hash before it looks inside."""
    home.mkdir(parents=True, exist_ok=True)
    requirement = home / "sdist.txt"
    requirement.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--no-binary", name]
    if subprocess.run([*pip, "--dest", str(home), "--require-hashes", "-r", str(requirement)], check=False).returncode:
        raise SystemExit(f"pip did not fetch {name} {version}, so no test is run")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
