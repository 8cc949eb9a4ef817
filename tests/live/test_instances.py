from incus_sdk import Client, Instance


async def test_a_box_runs(client: Client, box: Instance) -> None:
    assert (await client.instances.get(box.name)).status == "Running"
