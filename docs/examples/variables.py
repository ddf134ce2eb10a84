"""Replicated variables: inside runs, where each change is a checkpoint, and on their own.

A variable of a run belongs to that run: the same name in two runs means two variables. A variable
of the cluster is there for everybody; its version tells whether somebody else was faster.

Prints::

    set: 42 then 100
    update: 50 then 60
    two runs, one name: 100 and 200
    cluster variable: 1 then 2, stale write refused: True
"""

import tempfile
from pathlib import Path

import trio

import flowactor as fa


@fa.workflow(version=1)
class SetVariable:
    async def run(self, first: int, second: int) -> list[int]:
        value = await fa.variable("value", first)
        seen = [value.value]
        await value.set(second)
        return [*seen, value.value]


@fa.workflow(version=1)
class UpdateVariable:
    async def run(self, first: int, increment: int) -> list[int]:
        value = await fa.variable("value", first)
        seen = [value.value]
        await value.update(lambda old: old + increment)
        return [*seen, value.value]


app = fa.App([SetVariable, UpdateVariable])


async def in_runs(client: fa.Client) -> None:
    before, after = await client.execute(SetVariable.run, 42, 100)
    print(f"set: {before} then {after}")
    before, after = await client.execute(UpdateVariable.run, 50, 10)
    print(f"update: {before} then {after}")

    one = await client.start(SetVariable.run, 1, 100, id="one")
    two = await client.start(SetVariable.run, 2, 200, id="two")
    await one.result(timeout=30)
    await two.result(timeout=30)
    print(
        f"two runs, one name: {await one.variable('value', int)} "
        f"and {await two.variable('value', int)}"
    )


async def stand_alone(client: fa.Client) -> None:
    counter = client.variable("counter", int)
    await counter.set(1)
    first = await counter.read()
    await counter.set(2)
    refused = not await counter.compare_and_set(first.version, 3)
    print(
        f"cluster variable: {first.value} then {await counter.get()}, "
        f"stale write refused: {refused}"
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        config = fa.NodeConfig(listen="127.0.0.1:0", data=Path(data), bootstrap=True)
        async with fa.Node(app, config) as node:
            await in_runs(node.client)
            await stand_alone(node.client)


if __name__ == "__main__":
    trio.run(main)
