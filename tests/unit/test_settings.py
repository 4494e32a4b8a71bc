"""Where settings come from, what is refused, and that the sample file says what the code does."""

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stagecast.errors import SettingsError
from stagecast.settings import Section, Settings, load

SAMPLE = Path(__file__).parents[2] / "deploy" / "stagecast.sample.toml"


def keys(model: type[Section] = Settings, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= keys(field.annotation, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def flat(table: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in table.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return found


def test_sample_names_every_key_and_no_other() -> None:
    assert flat(tomllib.loads(SAMPLE.read_text())) == keys()


def test_sample_values_are_the_defaults() -> None:
    assert load(config=SAMPLE, env={}) == Settings()


def test_every_key_of_the_sample_is_explained() -> None:
    lines = SAMPLE.read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r"\w+ = ", line):
            assert above.startswith("#"), line


def test_unknown_key_in_the_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "stagecast.toml"
    path.write_text("[http]\nprot = 1\n")
    with pytest.raises(SettingsError, match=r"'http\.prot'.*did you mean 'http\.port'"):
        load(config=path, env={})


def test_unknown_section_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "stagecast.toml"
    path.write_text("[medai]\nport = 1\n")
    with pytest.raises(SettingsError, match="did you mean 'media'"):
        load(config=path, env={})


def test_unknown_environment_variable_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match=r"did you mean 'http\.port'"):
        load(env={"STAGECAST_HTTP__PROT": "1"})


def test_section_written_as_a_value_is_refused() -> None:
    with pytest.raises(SettingsError, match="'http' in the environment is a section"):
        load(env={"STAGECAST_HTTP": "1"})


def test_value_written_as_a_section_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stagecast.toml"
    path.write_text("[data]\npath = 1\n")
    with pytest.raises(SettingsError, match="'data'"):
        load(config=path, env={})


def test_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stagecast.toml"
    path.write_text("[http\n")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(config=path, env={})


def test_named_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings file"):
        load(config=tmp_path / "missing.toml", env={})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STAGECAST_HTTP__PORT", "70000", "http.port"),
        ("STAGECAST_HTTP__KEEP_ALIVE", "30", "is not a duration"),
        ("STAGECAST_PUBLIC_URL", "live.example.org", "is not a base address"),
        ("STAGECAST_TLS__MODE", "files", "needs both certificate and key"),
        ("STAGECAST_MEDIA__ADVERTISE", "example.org", "media.advertise"),
        ("STAGECAST_MEDIA__ICE_SERVERS", '[{"urls": ["http://x"]}]', "is not an ICE server"),
        ("STAGECAST_MEDIA__ICE_SERVERS", "[", "is not a JSON list"),
        ("STAGECAST_LOG__LEVEL", "loud", "log.level"),
    ],
)
def test_bad_value_is_refused_and_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        load(env={name: value})


def test_no_transport_at_all_is_refused() -> None:
    with pytest.raises(SettingsError, match="udp, tcp or both"):
        load(env={"STAGECAST_MEDIA__UDP": "false", "STAGECAST_MEDIA__TCP": "false"})


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    path = tmp_path / "stagecast.toml"
    path.write_text("[http]\nport = 1\nmax_body = '2MiB'\n[media]\nport = 2\nthreads = 5\n")
    env = {"STAGECAST_HTTP__PORT": "10", "STAGECAST_MEDIA__PORT": "20"}
    settings = load(config=path, env=env, flags={"http.port": 100, "media.threads": None})
    assert (settings.http.port, settings.media.port, settings.media.threads) == (100, 20, 5)
    assert settings.http.max_body == 2 << 20
    assert settings.http.bind == Settings().http.bind


def test_short_variable_sets_the_data_directory() -> None:
    assert load(env={"STAGECAST_DATA": "/srv/x"}).data == Path("/srv/x")


def test_lists_in_the_environment_are_split_at_commas() -> None:
    settings = load(env={"STAGECAST_MEDIA__ADVERTISE": "192.0.2.1, 2001:db8::1"})
    assert [str(address) for address in settings.media.advertise] == ["192.0.2.1", "2001:db8::1"]


def test_secrets_do_not_show_in_the_representation() -> None:
    servers = '[{"urls": ["turn:t"], "username": "u", "credential": "hidden"}]'
    assert "hidden" not in repr(load(env={"STAGECAST_MEDIA__ICE_SERVERS": servers}))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().http.port = 1  # pyright: ignore[reportAttributeAccessIssue]
