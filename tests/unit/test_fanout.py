import asyncio

from stagecast.kit.fanout import Fanout


async def test_reader_that_falls_behind_is_closed_and_keeps_what_it_has() -> None:
    fanout = Fanout[int]()
    slow = fanout.subscribe(2)
    for number in range(3):
        fanout.publish(number)
    assert slow.closed
    assert [await slow.next(0), await slow.next(0), await slow.next(0)] == [0, 1, None]
    assert len(fanout) == 0


async def test_slow_reader_costs_another_nothing() -> None:
    fanout = Fanout[int]()
    fanout.subscribe(1)
    fast = fanout.subscribe(10)
    for number in range(5):
        fanout.publish(number)
    assert [await fast.next(0) for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_waiting_reader_gets_what_is_published_later() -> None:
    fanout = Fanout[str]()
    reader = fanout.subscribe()
    waiting = asyncio.create_task(reader.next(10))
    await asyncio.sleep(0)
    fanout.publish("late")
    assert await waiting == "late"


async def test_closing_ends_a_wait() -> None:
    fanout = Fanout[str]()
    reader = fanout.subscribe()
    waiting = asyncio.create_task(reader.next(10))
    await asyncio.sleep(0)
    fanout.close()
    assert await waiting is None
    assert reader.closed


async def test_nothing_in_time_is_none() -> None:
    reader = Fanout[str]().subscribe()
    assert await reader.next(0) is None
    assert not reader.closed
