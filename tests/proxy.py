"""A TCP proxy between clients and a broker, for network faults: slow, silent, broken, or broken at a bad moment.

It knows one thing about Kafka: a request is four bytes of length and two bytes of API key. That is enough to fail
exactly the request that a test is about.
"""

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Self

#: API keys of the requests that tests interfere with.
PRODUCE, FETCH, ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT = 0, 1, 24, 25, 26, 28

#: What becomes of a chosen request. `lose_answer`: the broker gets it and acts on it, then the connection breaks before
#: the client hears of it. `lose_request`: the connection breaks before the broker hears of it. `delay`: the same, but
#: the broker gets it at `deliver_late`, on the connection that it was meant for. `silence`: nothing passes any more, on
#: any connection, and nothing breaks.
Fault = Literal["lose_answer", "lose_request", "delay", "silence"]


@dataclass(eq=False)
class _Link:
    """A client's connection, and the one to the broker behind it.

    Attributes:
        loses_answer: the next answer of the broker is lost.
        delayed: a request that the broker gets late.
        is_due: set when the broker is to get it.
        late_answer: what the broker answers to it.
    """

    client_reader: asyncio.StreamReader
    client: asyncio.StreamWriter
    broker_reader: asyncio.StreamReader
    broker: asyncio.StreamWriter
    loses_answer: bool = False
    delayed: bytes = b""
    is_due: asyncio.Event = field(default_factory=asyncio.Event)
    late_answer: asyncio.Future[bytes] = field(default_factory=asyncio.Future)


class Proxy:
    """Listens on a free loopback port as soon as it is built; `target_port` may be set later, before the first client.

    All attributes may be changed at any time and apply to the next bytes.

    Attributes:
        delay_seconds: wait before passing anything on, each way.
        bytes_per_second: limit of each direction of each connection; None for none.
        silent: accept bytes and connections and forward nothing, in both directions.
        refusing: close new connections at once.
        seen: how often each API key was requested.
        hits: how often a chosen request was failed.
    """

    def __init__(self, target_port: int = 0) -> None:
        self.target_port = target_port
        self.delay_seconds = 0.0
        self.bytes_per_second: float | None = None
        self.silent = False
        self.refusing = False
        self.seen: dict[int, int] = {}
        self.hits = 0
        self._faults: dict[int, tuple[Fault, int]] = {}
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def address(self) -> str:
        """HOST:PORT that clients connect to."""
        return f"127.0.0.1:{self.port}"

    def fail(self, api_key: int, how: Fault, times: int = 1) -> None:
        """Let the next `times` requests with this API key end in the given way."""
        self._faults[api_key] = (how, times)

    def deliver_late(self) -> list[bytes]:
        """Send the broker what was delayed, and return its answers, without their length."""
        return self._do(self._deliver_late())  # type: ignore[no-any-return]

    def cut(self) -> None:
        """Break every connection that is open now."""
        self._do(self._cut())

    def heal(self) -> None:
        """Pass everything on again; connections that were silenced are broken, as after a network split."""
        self.delay_seconds, self.bytes_per_second, self.refusing = 0.0, None, False
        self._faults.clear()
        was_silent, self.silent = self.silent, False
        if was_silent:
            self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _cut(self) -> None:
        for link in self._links:
            link.client.transport.abort()
            link.broker.transport.abort()

    async def _deliver_late(self) -> list[bytes]:
        late = [link for link in self._links if link.delayed]
        for link in late:
            link.is_due.set()
        return [await link.late_answer for link in late]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:  # the broker is down: the client sees what it would see without a proxy
            writer.transport.abort()
            return
        link = _Link(reader, writer, up_reader, up_writer)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._upstream(link))
                both.create_task(self._downstream(link))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._links.discard(link)
            for end in (writer, up_writer):
                end.transport.abort()

    async def _upstream(self, link: _Link) -> None:
        """Pass requests on one by one; raises when the connection is to be broken."""
        while True:
            request = await _message(link.client_reader)
            match self._fault_of(int.from_bytes(request[:2], "big")):
                case "lose_request":
                    raise ConnectionAbortedError
                case "lose_answer":
                    link.loses_answer = True
                case "delay":
                    await self._delay(link, request)
                    raise ConnectionAbortedError
                case "silence":
                    self.silent = True
            await self._pass(request, link.broker)

    async def _delay(self, link: _Link, request: bytes) -> None:
        """Break the client's connection and keep the broker's, until the request was delivered and answered."""
        link.delayed = request
        link.client.transport.abort()
        await link.is_due.wait()
        await self._pass(request, link.broker)
        await link.late_answer

    async def _downstream(self, link: _Link) -> None:
        while True:
            answer = await _message(link.broker_reader)
            if link.loses_answer:  # the broker has answered, so it has acted
                raise ConnectionAbortedError
            if not link.delayed:
                await self._pass(answer, link.client)
            elif answer[:4] == link.delayed[4:8]:  # the number of the request; nothing else is of interest any more
                link.late_answer.set_result(answer)

    def _fault_of(self, api_key: int) -> Fault | None:
        self.seen[api_key] = self.seen.get(api_key, 0) + 1
        how, times = self._faults.get(api_key, ("silence", 0))
        if not times:
            return None
        self._faults[api_key] = (how, times - 1)
        self.hits += 1
        return how

    async def _pass(self, message: bytes, writer: asyncio.StreamWriter) -> None:
        data = len(message).to_bytes(4, "big") + message
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        for start in range(0, len(data), 4096) if self.bytes_per_second else (0,):
            piece = data[start : start + 4096] if self.bytes_per_second else data
            while self.silent:
                await asyncio.sleep(0.02)
            if self.bytes_per_second:
                await asyncio.sleep(len(piece) / self.bytes_per_second)
            writer.write(piece)
            await writer.drain()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """The next request or answer, without its length."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
