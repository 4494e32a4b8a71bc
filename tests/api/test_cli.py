"""The command line: on a data directory, beside a running server, and the server as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from stagecast import doctor
from stagecast.cli import app as cli
from tests.api.conftest import MakeApp, data

RUNNER = CliRunner()


def run(home: Path, *arguments: str, status: int = 0) -> str:
    result = RUNNER.invoke(cli, arguments, env={"STAGECAST_DATA": str(home)})
    assert result.exit_code == status, result.output
    return result.output


def run_json(home: Path, *arguments: str) -> Any:
    return json.loads(run(home, *arguments, "--json"))


def test_version() -> None:
    assert RUNNER.invoke(cli, ["version"]).output.startswith("stagecast ")
    assert set(json.loads(RUNNER.invoke(cli, ["version", "--json"]).output)) == {"version"}


@pytest.mark.parametrize(
    "command",
    [[], ["serve"], ["doctor"], ["user", "add"], ["user", "passwd"], ["token", "create"], ["token", "list"],
     ["token", "disable"], ["token", "enable"], ["token", "delete"], ["apitoken", "create"], ["publish"], ["watch"],
     ["bench", "whep"], ["bench", "publish"]],
)  # fmt: skip
def test_every_command_has_help(command: list[str]) -> None:
    result = RUNNER.invoke(cli, [*command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 8


def test_tokens_are_made_listed_disabled_enabled_and_deleted(tmp_path: Path) -> None:
    made = run_json(
        tmp_path, "token", "create", "--label", "a", "--stream", "demo", "--stream", "two"
    )
    assert re.fullmatch("[0-9a-f]{64}", made["token"])
    assert made["accountId"]
    assert [stream["streamName"] for stream in made["streams"]] == ["demo", "two"]
    anything = run_json(tmp_path, "token", "create", "--label", "b", "--any", "--secure")
    assert anything["accountId"] == made["accountId"]
    assert anything["streams"] == [{"streamName": ".*", "isRegex": True}]
    assert run_json(tmp_path, "token", "list") == [made, anything]
    assert run_json(tmp_path, "token", "list", "--name", "TWO") == [made]
    number = str(made["id"])
    assert run_json(tmp_path, "token", "disable", number)["isActive"] is False
    assert run_json(tmp_path, "token", "enable", number)["isActive"] is True
    assert run_json(tmp_path, "token", "delete", number) == {"id": made["id"], "deleted": True}
    assert run_json(tmp_path, "token", "list") == [anything]
    assert made["token"] not in run(tmp_path, "token", "list")


def test_api_tokens_are_made_with_what_calls_need(tmp_path: Path) -> None:
    made = run_json(tmp_path, "apitoken", "create", "--label", "ci")
    assert made["token"].startswith("sct_")
    assert made["scopes"] == ["apps:read", "apps:write", "livestreams:read", "livestreams:write"]
    limited = run_json(
        tmp_path, "apitoken", "create", "--label", "x", "--scope", "livestreams:read"
    )
    assert limited["scopes"] == ["livestreams:read"]
    assert (limited["accountId"], limited["appId"]) == (made["accountId"], made["appId"])
    assert "livestreams:read" in run(tmp_path, "apitoken", "create", "--label", "y")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["token", "create", "--label", "a"], "--stream NAME, or --any"),
        (["apitoken", "create", "--label", "a", "--scope", "all"], "'all'"),
        (["apitoken", "create", "--label", " "], "at least 1 character"),
        (["token", "create", "--label", "a", "--any", "--stream", "x"], "--stream NAME, or --any"),
        (["token", "create", "--label", "a", "--stream", "a/b"], "cannot contain '/'"),
        (["token", "delete", "77"], "No publish token with id: 77"),
        (["user", "passwd", "nobody@x"], "no user nobody@x"),
        (["user", "add", "a@x", "--password", "short"], "at least 10 characters"),
        (["doctor", "--config", "missing.toml"], "no settings file"),
    ],
)
def test_refusal_is_one_clear_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    output = run(tmp_path, *arguments, status=1)
    assert message in output
    assert "Traceback" not in output


def test_users_are_added_and_their_passwords_set(tmp_path: Path) -> None:
    added = run_json(tmp_path, "user", "add", "Person@Example.org")
    assert re.fullmatch(r"(\w{4}-){3}\w{4}", added["oneTimePassword"])
    assert "already a user" in run(tmp_path, "user", "add", "person@example.org", status=1)
    assert "One-time password" in run(tmp_path, "user", "passwd", "person@example.org")
    chosen = run_json(
        tmp_path, "user", "passwd", "person@example.org", "--password", "long enough pw"
    )
    assert chosen["oneTimePassword"] is None


async def test_new_password_ends_the_sessions_of_a_running_server(
    make_app: MakeApp, tmp_path: Path
) -> None:
    import asyncio

    app = await make_app()
    await app.log_in()
    home = tmp_path / "data"
    await asyncio.to_thread(
        run, home, "user", "passwd", "admin@localhost", "--password", "set by the operator"
    )
    assert (await app.client.get("/api/session")).status_code == 401
    login = {"email": "admin@localhost", "password": "set by the operator"}
    data(await app.visitor().post("/api/session", json=login))


async def test_token_deleted_by_another_process_ends_its_feed(
    make_app: MakeApp, tmp_path: Path
) -> None:
    import asyncio

    from tests.api.conftest import until

    app = await make_app()
    home = tmp_path / "data"
    made = await asyncio.to_thread(
        run_json, home, "token", "create", "--label", "a", "--stream", "demo"
    )
    session = await app.go_live(made["token"])
    await asyncio.to_thread(run, home, "token", "disable", str(made["id"]))
    await app.settle()
    assert session in app.core.sessions
    await asyncio.to_thread(run, home, "token", "delete", str(made["id"]))
    await until(lambda: session not in app.core.sessions)


def test_doctor_looks_at_everything(tmp_path: Path) -> None:
    run(tmp_path, "token", "create", "--label", "a", "--any")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        env = {
            "STAGECAST_DATA": str(tmp_path),
            "STAGECAST_HTTP__PORT": port,
            "STAGECAST_MEDIA__PORT": "0",
            "STAGECAST_RTMP__PORT": "0",
            "STAGECAST_RTMP__TLS_PORT": "0",
            "STAGECAST_SRT__PORT": "0",
        }
        result = RUNNER.invoke(cli, ["doctor", "--json"], env=env)
    found = {finding["check"]: finding for finding in json.loads(result.output)}
    assert result.exit_code == 1
    assert found[f"port {port}/tcp"]["level"] == "problem"
    assert "http.port" in found[f"port {port}/tcp"]["advice"]
    assert found["database"]["level"] == "ok"
    assert found["token key"]["level"] == "ok"
    for name in ("UDP receive buffer", "UDP segmentation offload", "TLS", "disk", "open files"):
        assert name in found


def test_doctor_finds_what_was_broken(tmp_path: Path) -> None:
    run(tmp_path, "token", "create", "--label", "a", "--any")
    key = tmp_path / "keys" / "vault.key"
    key.chmod(0o644)
    settings = doctor.Settings(data=tmp_path)
    assert doctor._keys(settings).level is doctor.Level.PROBLEM
    key.unlink()
    assert "missing" in doctor._keys(settings).found
    (tmp_path / "stagecast.db").write_bytes(b"garbage" * 1000)
    assert doctor._database(settings).level is doctor.Level.PROBLEM


# The server as a process


class Process:
    def __init__(self, process: subprocess.Popen[str], log: Path, port: int) -> None:
        self.process = process
        self.log = log
        self.port = port

    @property
    def text(self) -> str:
        return self.log.read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(home: Path, *arguments: str, tls: bool = False) -> Generator[Process]:
    port = free_port()
    log = home.parent / "log"
    env = {
        **os.environ, "STAGECAST_DATA": str(home), "STAGECAST_MEDIA__PORT": "0",
        "STAGECAST_RTMP__ENABLED": "false", "STAGECAST_HLS__ENABLED": "false",
        "STAGECAST_SRT__ENABLED": "false",
        "STAGECAST_HTTP__BIND": "127.0.0.1",
    }  # fmt: skip
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "stagecast", "serve", "--port", str(port), *arguments],
            env=env, stdout=file, stderr=subprocess.STDOUT, text=True, cwd=home.parent,
        )  # fmt: skip
    running = Process(process, log, port)
    deadline = time.monotonic() + 25
    try:
        while "is ready" not in running.text:
            assert process.poll() is None, running.text
            assert time.monotonic() < deadline, running.text
            time.sleep(0.02)
        yield running
    finally:
        process.kill()
        process.wait()


def stopped(running: Process, number: int = signal.SIGTERM) -> int:
    running.process.send_signal(number)
    return running.process.wait(20)


@pytest.mark.timeout(60)
def test_first_start_prints_the_password_and_the_next_does_not(tmp_path: Path) -> None:
    home = tmp_path / "data"
    with served(home) as running:
        assert "admin@localhost" in running.text
        password = re.search(r"One-time password: (\S+)", running.text)
        assert password is not None
        login = {"email": "admin@localhost", "password": password[1]}
        url = f"http://127.0.0.1:{running.port}"
        assert httpx2.post(f"{url}/api/session", json=login).status_code == 200
        assert stopped(running) == 0
    with served(home) as running:
        assert "One-time password" not in running.text
        assert stopped(running, signal.SIGINT) == 0


@pytest.mark.timeout(60)
def test_writes_before_the_end_are_kept_and_long_responses_end(tmp_path: Path) -> None:
    home = tmp_path / "data"
    with served(home) as running:
        base = f"http://127.0.0.1:{running.port}"
        password = re.search(r"One-time password: (\S+)", running.text)
        assert password is not None
        with httpx2.Client(base_url=base) as client:
            login = {"email": "admin@localhost", "password": password[1]}
            session = client.post("/api/session", json=login).json()["data"]
            client.headers["X-CSRF-Token"] = session["csrfToken"]
            change = {"currentPassword": password[1], "newPassword": "correct horse battery"}
            assert client.put("/api/session/password", json=change).status_code == 200
            secret = client.post("/api/secret", json={"label": "x"}).json()["data"]["secret"]
            bearer = {"Authorization": f"Bearer {secret}"}
            assert client.get("/api/publish_token/active/all", headers=bearer).status_code == 200
            with client.stream("GET", "/api/events") as events:
                lines = events.iter_lines()
                assert next(lines) == "event: hello"
                running.process.send_signal(signal.SIGTERM)
                list(lines)
        assert running.process.wait(20) == 0
    assert not list(home.glob("*.db-wal"))
    import sqlite3

    with sqlite3.connect(home / "stagecast.db") as connection:
        (used,) = connection.execute("SELECT last_used_on FROM api_secret").fetchone()
    connection.close()
    assert used is not None


@pytest.mark.timeout(60)
def test_self_signed_https_works_and_is_kept(tmp_path: Path) -> None:
    home = tmp_path / "data"
    fingerprints: set[bytes] = set()
    for _ in range(2):
        with served(home, "--tls", "self-signed") as running:
            assert "https://" in running.text
            certificate = ssl.get_server_certificate(("127.0.0.1", running.port))
            fingerprints.add(ssl.PEM_cert_to_DER_cert(certificate))
            trust = ssl.create_default_context(cadata=certificate)
            with httpx2.Client(verify=trust) as client:
                assert client.get(f"https://localhost:{running.port}/readyz").status_code == 200
            assert stopped(running) == 0
    assert len(fingerprints) == 1
    assert (home / "keys" / "self-signed.key").stat().st_mode & 0o777 == 0o600


def test_start_problem_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = {
            **os.environ, "STAGECAST_DATA": str(tmp_path / "data"), "STAGECAST_MEDIA__PORT": "0",
            "STAGECAST_RTMP__ENABLED": "false", "STAGECAST_HLS__ENABLED": "false",
            "STAGECAST_SRT__ENABLED": "false",
            "STAGECAST_HTTP__BIND": "127.0.0.1", "STAGECAST_HTTP__PORT": str(taken.getsockname()[1]),
        }  # fmt: skip
        result = subprocess.run(
            [sys.executable, "-m", "stagecast", "serve"],
            env=env, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=25,
        )  # fmt: skip
    assert result.returncode == 1
    assert re.fullmatch(r"stagecast: Port \d+ is in use on 127.0.0.1\..*--port.*\n", result.stderr)


@pytest.mark.timeout(60)
def test_connections_cannot_be_held_for_nothing(tmp_path: Path) -> None:
    home = tmp_path / "data"
    (tmp_path / "stagecast.toml").write_text(
        '[http]\nreceive_timeout = "300ms"\nmax_header = "2KiB"\n'
    )
    with served(home) as running:
        address = ("127.0.0.1", running.port)
        with socket.create_connection(address, timeout=10) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(address, timeout=10) as slow:
            slow.sendall(
                b"POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 10\r\n\r\n123"
            )
            assert slow.recv(1) == b""
        with socket.create_connection(address, timeout=10) as large:
            large.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 4096)
            assert large.recv(100).startswith(b"HTTP/1.1 400")
        assert httpx2.get(f"http://127.0.0.1:{running.port}/healthz").status_code == 200
        assert stopped(running) == 0
