"""What unwaited calls return, read as the documentation of 1.0.0 reads it: the answer, with the operation in it."""

from __future__ import annotations

from typing import Any

from incus_sdk import Client, Instance

BUSYBOX = {"type": "image", "alias": "busybox"}


async def test_every_unwaited_call_names_the_operation_to_wait_for(client: Client, name: str) -> None:
    async def finish(response: Any) -> None:
        assert response["metadata"]["class"] == "task"
        assert response["metadata"]["status_code"] in (103, 200)
        assert response["operation"] == f"/1.0/operations/{response['metadata']['id']}"
        if "id" in response.get("metadata", {}):
            ended = await client.wait_for_operation(response["metadata"]["id"])
            assert ended["metadata"]["status"] == "Success"
            assert ended["metadata"]["id"] == response["metadata"]["id"]

    instances = client.instances
    await finish(await instances.create(name=name, source=BUSYBOX))
    await finish(await instances.start(name))
    await finish(await instances.execute(name=name, command=["true"]))
    await finish(await instances.freeze(name))
    await finish(await instances.unfreeze(name))
    await finish(await instances.stop(name, force=True))
    await finish(await instances.update(name, {"config": {"user.key": "1"}}))
    await finish(await instances.delete(name))
    assert not await instances.exists(name)


async def test_the_output_of_a_command_is_where_the_documentation_reads_it(client: Client, box: Instance) -> None:
    result = await client.instances.execute(
        name=box.name, command=["echo", "Hello, World!"], record_output=True, wait=True
    )
    assert result["metadata"]["output"]["stdout"] == "Hello, World!\n"
    assert result["metadata"]["return"] == 0
    assert result["metadata"]["id"] == result.id
    assert result["metadata"]["status"] == "Success"
    assert result.metadata == {"output": {"stdout": "Hello, World!\n", "stderr": ""}, "return": 0}
