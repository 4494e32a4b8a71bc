"""OBS Studio as it is installed, without a screen: a profile of its own, one coloured scene, streaming at once."""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

NAME = "Test"
WIDTH, HEIGHT = 640, 360

GLOBAL = {
    "General": {"FirstRun": "true", "LicenseAccepted": "true", "EnableAutoUpdates": "false"},
    "Basic": {
        "Profile": NAME,
        "ProfileDir": NAME,
        "SceneCollection": NAME,
        "SceneCollectionFile": NAME,
    },
    "BasicWindow": {"WarnBeforeStartingStream": "false"},
}
PROFILE = {
    "General": {"Name": NAME},
    "Output": {"Mode": "Simple"},
    "SimpleOutput": {"VBitrate": "1000", "StreamEncoder": "x264", "Preset": "ultrafast"},
    "Video": {
        "BaseCX": str(WIDTH),
        "BaseCY": str(HEIGHT),
        "OutputCX": str(WIDTH),
        "OutputCY": str(HEIGHT),
    },
}
SCENES = {
    "name": NAME,
    "current_scene": "Scene",
    "current_program_scene": "Scene",
    "scene_order": [{"name": "Scene"}],
    "sources": [
        {
            "id": "scene",
            "name": "Scene",
            "settings": {"id_counter": 1, "items": [{"name": "Colour", "id": 1, "visible": True}]},
        },
        {
            "id": "color_source_v3",
            "name": "Colour",
            "settings": {"color": 0xFF00FF00, "width": WIDTH, "height": HEIGHT},
        },
    ],
}


def missing() -> str:
    """What is not installed; nothing when OBS can be run."""
    return ", ".join(name for name in ("obs", "xvfb-run") if shutil.which(name) is None)


@asynccontextmanager
async def streaming(home: Path, server: str, key: str) -> AsyncGenerator[Path]:
    """OBS while it streams to a server; its log."""
    settings = home / "config" / "obs-studio"
    profile, scenes = settings / "basic" / "profiles" / NAME, settings / "basic" / "scenes"
    profile.mkdir(parents=True)
    scenes.mkdir(parents=True)
    _ini(settings / "global.ini", GLOBAL)
    _ini(profile / "basic.ini", PROFILE)
    service = {"type": "rtmp_custom", "settings": {"server": server, "key": key}}
    (profile / "service.json").write_text(json.dumps(service))
    (scenes / f"{NAME}.json").write_text(json.dumps(SCENES))
    log = home / "obs.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *("xvfb-run", "-a", "obs", "--startstreaming", "--minimize-to-tray", "--multi"),
            *("--profile", NAME, "--collection", NAME),
            env=os.environ
            | {
                "HOME": str(home),
                "XDG_CONFIG_HOME": str(home / "config"),
                "XDG_RUNTIME_DIR": str(home),
                "LIBGL_ALWAYS_SOFTWARE": "1",
                "QT_QPA_PLATFORM": "xcb",
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 10)


def _ini(path: Path, sections: dict[str, dict[str, str]]) -> None:
    parser = configparser.ConfigParser()
    # OBS tells upper from lower case.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_dict(sections)
    with path.open("w") as file:
        parser.write(file, space_around_delimiters=False)
