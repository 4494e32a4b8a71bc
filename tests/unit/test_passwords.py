import asyncio

import pytest

from stagecast.accounts.passwords import PasswordChecker, new_one_time_password, password_problem
from stagecast.errors import Throttled


@pytest.mark.parametrize(
    "password", ["short", "aaaaaaaaaaaa", "person@example.org", "x" * 257, "abcabcabcabc"]
)
def test_weak_password_is_refused(password: str) -> None:
    assert password_problem(password, "person@example.org", 10) is not None


def test_one_time_password_is_good_enough_itself() -> None:
    assert password_problem(new_one_time_password(), "admin@localhost", 10) is None


async def test_wrong_password_unknown_user_and_broken_hash_do_not_fit() -> None:
    passwords = PasswordChecker()
    stored = await passwords.hash("correct horse")
    assert await passwords.verify(stored, "correct horse")
    assert not await passwords.verify(stored, "wrong horse")
    assert not await passwords.verify(None, "correct horse")
    assert not await passwords.verify("not a hash", "correct horse")


async def test_crowd_of_logins_is_told_to_come_back() -> None:
    passwords = PasswordChecker()
    tries = [passwords.verify(None, "x") for _ in range(18)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, Throttled) for result in results) == 2
