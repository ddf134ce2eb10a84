"""A bad day of a network as a program: prints a digest of all that arrived, for a seed.

Four machines talk all the time, over streams and over WebSockets, while faults come and go and
processes die, stop and come back. What each connection promises is checked on the way.
"""

import sys
from collections import Counter
from hashlib import blake2b
from random import Random

import trio
from attrs import define, field

from flowactor.errors import FlowactorError
from flowactor.simulation.faults import (
    Block,
    Duplicate,
    Loss,
    Partition,
    Reorder,
    Reset,
    SlowLink,
)
from flowactor.simulation.network import FrameTransport, Host, Network, address_of, host_of
from flowactor.simulation.runtime import Runtime, simulate
from flowactor.transport import WebSocketTransport

NODES = (1, 2, 3)
CLIENT = 100
SECONDS = 8.0
CALM_SECONDS = 15.0
PORT = 7400
STREAM_PORT = 7401


@define
class Talk:
    """What was sent on one connection, and what became of it."""

    sent: bytearray = field(factory=bytearray)
    got: bytearray = field(factory=bytearray)
    over: str = ""


class Day:
    """One run."""

    def __init__(self, runtime: Runtime, *, frames: bool) -> None:
        self.runtime, self.frames = runtime, frames
        self.random = runtime.random("traffic")
        self.network = Network(
            runtime.time, runtime.random("network"), told=self.note, silence_seconds=1.5
        )
        self.hosts: dict[int, Host] = {}
        self.lives: dict[int, trio.CancelScope] = {}
        self.talks: dict[str, Talk] = {}
        self.hash = blake2b(digest_size=16)
        self.faults = self.listening = self.answers = 0
        self.calm = False

    def note(self, *what: int) -> None:
        self.hash.update(repr((self.runtime.time.now_ns, what)).encode())

    def later(self, seconds: float, action) -> None:
        self.runtime.time.at(self.runtime.time.now_ns + int(seconds * 1e9), action)

    # -- what goes wrong

    def strike(self, chance: Random) -> None:
        if self.calm:
            return
        self.later(chance.uniform(0.01, 0.8), lambda: self.strike(chance))
        source, target = chance.sample((*NODES, CLIENT), 2)
        choice = chance.randrange(9)
        faults = (
            Partition(((source,), (target, *NODES)), at=0),
            Block(source, target, at=0),
            SlowLink(source, target, seconds=chance.random(), at=0),
            Loss(source, target, odds=chance.random() ** 2, at=0),
            Reorder(source, target, at=0),
            Duplicate(source, target, odds=0.5, at=0),
            Reset(source, target, at=0),
        )
        if choice < len(faults):
            fault = faults[choice]
            self.network.begin(fault)
            self.faults += 1
            self.later(min(chance.expovariate(0.7), 5.0), lambda: self.mend(fault))
        elif choice == 7:
            self.network.freeze(source)
            self.later(chance.random() * 5, lambda: self.network.thaw(source))
        elif source in self.hosts:
            self.network.kill(source, silent=chance.random() < 0.5)
            del self.hosts[source]
            self.lives[source].cancel()

    def mend(self, fault) -> None:
        self.network.end(fault)
        self.faults -= 1

    # -- who talks

    async def live(self, machine: int) -> None:
        """One process of a machine after another."""
        while True:
            self.hosts[machine] = host = self.network.host(machine)
            with trio.CancelScope() as self.lives[machine]:
                async with trio.open_nursery() as process:
                    process.start_soon(self.serve_streams, host)
                    kind = FrameTransport if self.frames else WebSocketTransport
                    transport = kind(host)
                    process.start_soon(transport.serve, address_of(machine, PORT), self.echo)
                    for other in (*NODES, CLIENT):
                        if other != machine:
                            process.start_soon(self.say, host, machine, other)
                            process.start_soon(self.ask, transport, other)
            await trio.sleep(0.2)

    async def serve_streams(self, host: Host) -> None:
        listeners, _ = await host.listen("", STREAM_PORT)
        await trio.serve_listeners(self.listen, listeners)

    async def echo(self, connection) -> None:
        while True:
            await connection.send(await connection.receive())

    async def ask(self, transport, other: int) -> None:
        """Questions and answers in frames, each answer to its own question."""
        while not self.calm:
            try:
                connection = await transport.dial(address_of(other, PORT))
            except FlowactorError:
                await trio.sleep(0.3)
                continue
            try:
                for number in range(1000):
                    if self.calm:
                        return
                    question = number.to_bytes(4) * (1 + number % 7)
                    await connection.send(question)
                    assert await connection.receive() == question
                    self.answers += 1
                    await trio.sleep(0.1)
            except FlowactorError as error:
                self.hash.update(str(error).encode())
            finally:
                await connection.aclose()

    async def say(self, host: Host, machine: int, other: int) -> None:
        """Bytes, one way, on one connection after another."""
        while not self.calm:
            name = f"{machine} to {other}, {len(self.talks)}"
            try:
                stream = await host.open_stream(host_of(other), STREAM_PORT)
            except OSError:
                await trio.sleep(0.1)
                continue
            talk = self.talks[name] = Talk()
            try:
                await stream.send_all(name.encode() + b"\n")
                while not self.calm and len(talk.sent) < 60_000:
                    data = self.random.randbytes(self.random.randrange(1, 4000))
                    talk.sent += data
                    await stream.send_all(data)
                    await trio.sleep(self.random.random() * 0.1)
            except trio.BrokenResourceError:
                pass
            finally:
                await trio.aclose_forcefully(stream)

    async def listen(self, stream: trio.abc.Stream) -> None:
        data = bytearray()
        talk = None
        self.listening += 1
        try:
            async with stream:
                while True:
                    chunk = await stream.receive_some(5000)
                    data += chunk
                    if talk is None and b"\n" in data:
                        name, _, rest = bytes(data).partition(b"\n")
                        talk = self.talks[name.decode()]
                        talk.got += rest
                    elif talk is not None:
                        talk.got += chunk
                    if not chunk:
                        break
            over = "ended"
        except trio.BrokenResourceError as error:
            over = str(error)
        except trio.Cancelled:
            over = "died"
            raise
        finally:
            self.listening -= 1
            if talk is not None:
                talk.over = over

    # -- the day

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for machine in (*NODES, CLIENT):
                nursery.start_soon(self.live, machine)
            chance = self.runtime.random("faults")
            self.later(1, lambda: self.strike(chance))
            await trio.sleep(SECONDS)
            self.calm = True
            await trio.sleep(CALM_SECONDS)
            assert self.listening == 0, "somebody still waits for who has left"
            for machine in self.network._machines.values():
                assert not machine.ends, f"{machine.number} knows connections that are over"
            nursery.cancel_scope.cancel()
        assert self.faults == 0, "a fault was not mended"
        overs = Counter(talk.over for talk in self.talks.values())
        assert {"ended", "Connection reset by peer"} <= set(overs), "the day was too quiet"
        assert self.answers > 100, "too few questions were answered"
        for name, talk in self.talks.items():
            assert talk.sent.startswith(talk.got), f"{name}: what arrived is not what was sent"
            if talk.over == "ended":
                assert talk.got == talk.sent, f"{name}: an end before all that was sent"
            self.hash.update(f"{name} {talk.over} {len(talk.got)}".encode())


def digest(seed: int, *, frames: bool) -> str:
    """Of all that arrived, when, in which order, and what became of it."""

    async def main(runtime: Runtime) -> str:
        day = Day(runtime, frames=frames)
        await day.run()
        return day.hash.hexdigest()

    return simulate(main, seed=seed)


if __name__ == "__main__":
    for seed in sys.argv[1:]:
        for frames in (False, True):
            sys.stdout.write(digest(int(seed), frames=frames) + "\n")
