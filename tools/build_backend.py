"""The PEP 517 build backend: maturin, after the web apps are built.

`pip install .` must give a package that serves pages, so a wheel or source archive without
`python/stagecast/web_dist` is never built: the apps are compiled with npm first where they are missing.
An editable install leaves them to `make`, which rebuilds them by real dependency.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import maturin  # pyright: ignore[reportMissingTypeStubs]

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
WEB_DIST = ROOT / "python" / "stagecast" / "web_dist"

Settings = Mapping[str, Any] | None

get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
get_requires_for_build_editable = maturin.get_requires_for_build_editable
get_requires_for_build_sdist = maturin.get_requires_for_build_sdist
prepare_metadata_for_build_wheel = maturin.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = maturin.prepare_metadata_for_build_editable
build_editable = maturin.build_editable


def build_wheel(
    wheel_directory: str,
    config_settings: Settings = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the wheel with the core, the web apps and the migrations in it."""
    _require_web_apps()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Build the source archive; the compiled web apps go with it, so that it needs no Node."""
    _require_web_apps()
    return maturin.build_sdist(sdist_directory, config_settings)


def _require_web_apps() -> None:
    if (WEB_DIST / "index.html").is_file():
        return
    npm = shutil.which("npm")
    if npm is None:
        sys.exit(
            "stagecast: the web apps are not built and npm was not found; install Node.js 20 or newer"
        )
    # Not `npm ci`, for the reason that stands in the Makefile.
    for arguments in (["install", "--no-save"], ["run", "build"]):
        subprocess.run([npm, *arguments], cwd=WEB, check=True)
    if not (WEB_DIST / "index.html").is_file():
        sys.exit(f"stagecast: npm run build left no {WEB_DIST.relative_to(ROOT)}/index.html")
