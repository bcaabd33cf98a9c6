"""Group commits, and clients that do not wait for them."""

import asyncio
import threading

import pytest

from halfstep.serve.event import Appended, BusyError, Event
from halfstep.serve.group_commit import GroupCommit


class SlowLog:
    """A log that appends when it may."""

    def __init__(self):
        self.may, self.appended = threading.Event(), []

    def append(self, requests):
        self.may.wait()
        self.appended += [each.event_id for events in requests for each in events]
        return [Appended([len(self.appended)] * len(events), [False] * len(events)) for events in requests]


def test_a_client_that_disconnects_does_not_stop_the_commits_of_others():
    log = SlowLog()
    commits = GroupCommit(log, limit=3, on_commit=lambda: None)

    async def run():
        waits = [asyncio.ensure_future(asyncio.wrap_future(commits.submit([Event(name, 1, 2)]))) for name in "abc"]
        await asyncio.sleep(0)
        waits[0].cancel()
        waits[1].cancel()
        with pytest.raises(BusyError, match="3 events are waiting"):
            commits.submit([Event("d", 1, 2)])
        log.may.set()
        assert isinstance(await asyncio.wait_for(waits[2], 10), Appended)

    asyncio.run(run())
    commits.close()
    assert log.appended == ["a", "b", "c"]
    with pytest.raises(BusyError, match="stopping"):
        commits.submit([Event("e", 1, 2)])
