"""The import rules catch what they are for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RULES = """
[importlinter]
root_package = shop
contract_types =
    own_repository: import_contracts.OwnRepository
    entrance: import_contracts.Entrance
[importlinter:contract:1]
name = doors
type = own_repository
package = shop
private =
    repository
readers =
    shop.app
[importlinter:contract:2]
name = entrance
type = entrance
modules =
    shop.app
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A package with two domains that keep the rules."""
    for name, text in {
        "__init__.py": "",
        "app.py": "from shop.goods import repository",
        "goods/__init__.py": "",
        "goods/repository.py": "",
        "goods/service.py": "from shop.goods.repository import __name__",
        "orders/__init__.py": "",
        "orders/service.py": "from shop.goods import service",
    }.items():
        path = tmp_path / "shop" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / ".importlinter").write_text(RULES)
    return tmp_path


def lint(shop: Path) -> tuple[int, str]:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=shop,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT / 'tools'}:{shop}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_package_that_keeps_the_rules_passes(shop: Path) -> None:
    status, output = lint(shop)
    assert status == 0, output


def test_another_domains_repository_is_refused(shop: Path) -> None:
    (shop / "shop/orders/service.py").write_text("from shop.goods.repository import __name__")
    status, output = lint(shop)
    assert status == 1
    assert "shop.orders.service imports shop.goods.repository: use shop.goods.service" in output


def test_importing_the_app_is_refused(shop: Path) -> None:
    (shop / "shop/orders/service.py").write_text("import shop.app")
    status, output = lint(shop)
    assert status == 1
    assert "shop.orders.service imports shop.app" in output
