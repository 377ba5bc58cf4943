"""Celery's source distribution: fetched from PyPI when the tests run, and checked, because nothing of it is kept here.

Owns: the release, its hash, and what is unpacked of it.
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
ARCHIVE = f"celery-{VERSION}.tar.gz"
#: Celery's tests, as a package named ``t``; its own conftest stays in the archive, because ours takes its place.
TESTS = f"celery-{VERSION}/t/"
THEIR_CONFTEST = f"{TESTS}unit/conftest.py"
OURS = '"""Under Celery\'s name for it: the fixtures of ours."""\n\nfrom celery_fixtures import *\n'


def tests(home: Path) -> Path:
    """The folder that holds the package ``t``, below this one. What an earlier run left there is made anew."""
    archive = home / ARCHIVE
    if not archive.exists() or _sha256(archive) != SHA256:
        _download(home)
    root = home / "suite"
    shutil.rmtree(root, ignore_errors=True)
    with tarfile.open(archive) as opened:
        wanted = [one for one in opened.getmembers() if one.name.startswith(TESTS) and one.name != THEIR_CONFTEST]
        opened.extractall(root, wanted, filter="data")
    package = root / f"celery-{VERSION}"
    (package / "t" / "unit" / "conftest.py").write_text(OURS)
    return package


def _download(home: Path) -> None:
    """Have pip fetch it. pip holds it against the hash before it looks inside; we do once more, whatever pip did."""
    home.mkdir(parents=True, exist_ok=True)
    requirement = home / "sdist.txt"
    requirement.write_text(f"celery=={VERSION} --hash=sha256:{SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--no-binary", "celery"]
    if subprocess.run([*pip, "--dest", str(home), "--require-hashes", "-r", str(requirement)], check=False).returncode:
        raise SystemExit(f"pip did not fetch {ARCHIVE}, so no test is run")
    found = _sha256(home / ARCHIVE)
    if found != SHA256:
        raise SystemExit(f"{ARCHIVE} has the hash {found}, not {SHA256}, so no test is run")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
