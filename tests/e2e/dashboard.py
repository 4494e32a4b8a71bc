"""Steps of a person at the dashboard."""

from __future__ import annotations

from tests.e2e.browser import Page
from tests.e2e.server import Server

PASSWORD = "correct horse battery staple"


def by(name: str) -> str:
    return f'[data-testid="{name}"]'


async def log_in(page: Page, server: Server, password: str) -> None:
    email, _ = server.first_password()
    await page.goto(f"{server.url}/")
    await page.fill(by("login-email"), email)
    await page.fill(by("login-password"), password)
    await page.click(by("login-submit"))


async def choose_password(page: Page, once: str) -> None:
    """Replace the one-time password, which the server asks for before anything else."""
    await page.wait(by("new-password"))
    if await page.count(by("current-password")):
        await page.fill(by("current-password"), once)
    await page.fill(by("new-password"), PASSWORD)
    await page.fill(by("new-password-again"), PASSWORD)
    await page.click(by("password-submit"))


async def add_token(page: Page, label: str, stream: str) -> None:
    await page.click(by("add-token"))
    await page.fill(by("token-label"), label)
    await page.fill(by("token-stream"), stream)
    await page.click(by("token-create"))
    await page.wait(by(f"row-{stream}"))
