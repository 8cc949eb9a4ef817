"""Content piece by piece: forms of several parts in any cut, files that are whole or not there, progress."""

from __future__ import annotations

import asyncio
import io
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incus_sdk import IncusConnectionError, IncusInputError, Progress
from incus_sdk._atomic import atomic_file
from incus_sdk._content import checked_content, iter_content, read_form, size_of, with_progress, write_form

FORM = b"--B\r\nContent-Disposition: form-data; name=one\r\n\r\nfirst\r\n--B\r\nX: y\r\n\r\n\r\n--B--\r\n"


async def cut(content: bytes, sizes: Sequence[int]) -> AsyncIterator[bytes]:
    """The content in pieces of these sizes, and a last one of what is left."""
    for size in sizes:
        yield content[:size]
        content = content[size:]
    yield content


async def read(content_type: str, body: AsyncIterator[bytes]) -> list[tuple[str, bytes]]:
    found: dict[str, bytes] = {}
    async for name, piece in read_form(content_type, body):
        found[name] = found.get(name, b"") + piece
    return list(found.items())


@given(
    contents=st.lists(st.binary() | st.sampled_from([b"\r\n--", b"\r\n\r\n--B", b"--B--"]), min_size=1, max_size=3),
    sizes=st.lists(st.integers(0, 80)),
)
def test_a_form_is_read_as_it_was_written_however_it_is_cut(contents: list[bytes], sizes: list[int]) -> None:
    async def main() -> None:
        named = [(f'part "{n}"', f"fi\\le\n{n}", iter_content(content)) for n, content in enumerate(contents)]
        content_type, body = write_form(named)
        whole = b"".join([piece async for piece in body])
        assert await read(content_type, cut(whole, sizes)) == [
            (f'part "{n}"', content) for n, content in enumerate(contents)
        ]

    asyncio.run(main())


async def test_a_form_of_another_writer_is_read() -> None:
    found = await read('multipart/form-data; boundary="B"', cut(b"preface\r\n" + FORM + b"epilogue", [1, 2, 3, 4, 5]))
    assert found == [("one", b"first"), ("", b"")]


@pytest.mark.parametrize("length", range(len(FORM) - 3))
async def test_a_form_that_was_cut_off_is_an_error(length: int) -> None:
    with pytest.raises(IncusConnectionError, match="cut off"):
        await read("multipart/form-data; boundary=B", cut(FORM[:length], [7, 7]))


async def test_what_is_no_form_is_an_error() -> None:
    with pytest.raises(IncusConnectionError, match="boundary"):
        await read("multipart/form-data", cut(FORM, []))
    with pytest.raises(IncusConnectionError, match="headers"):
        await read("multipart/form-data; boundary=B", cut(b"--B\r\n" + b"x" * 20_000, [10_000] * 2))


async def test_memory_stays_flat_however_much_passes() -> None:
    async def much() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(512 * 1024)

    tracemalloc.start()
    try:
        content_type, body = write_form([("one", "one", much()), ("two", "two", much())])
        passed = 0
        async for _, piece in read_form(content_type, with_progress(body, "upload", None, None)):
            passed += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert passed == 2 * 64 * 512 * 1024
    assert peak < 4 * 1024 * 1024


async def test_content_is_read_from_bytes_files_and_iterables(tmp_path: Path) -> None:
    content = bytes(range(256)) * 3000
    (tmp_path / "file").write_bytes(content)
    opened = io.BytesIO(b"read" + content)
    opened.read(4)
    for source, size in (
        (content, len(content)),
        (memoryview(content), len(content)),
        (tmp_path / "file", len(content)),
        (str(tmp_path / "file"), len(content)),
        (opened, len(content)),
        (cut(content, [5]), None),
        ([content[:5], content[5:]], None),
        (iter([content[:5], content[5:]]), None),
    ):
        checked_content(source, "source")
        assert size_of(source) == size
        read = [piece async for piece in iter_content(source)]
        assert (b"".join(read), len(read) > 1) == (content, True)
    assert not opened.closed
    with tempfile.NamedTemporaryFile() as file:  # which is not one by its class
        file.write(content)
        file.seek(0)
        assert size_of(file) == len(content)
        assert b"".join([piece async for piece in iter_content(file)]) == content
    wrong: Any
    for wrong, why in ((5, "int"), (None, "NoneType"), ({"a": b""}, "dict"), (io.StringIO("x"), '"rb"')):
        with pytest.raises(IncusInputError, match=why):
            checked_content(wrong, "source")
    for wrong in (["text"], [1], cut("text", [])):  # type: ignore[arg-type]
        with pytest.raises(IncusInputError, match="must come as bytes, not"):
            _ = [piece async for piece in iter_content(wrong)]
    with pytest.raises(IncusInputError, match=r"source cannot be read.*No such file"):
        checked_content(tmp_path / "nothing", "source")
    with pytest.raises(IncusInputError, match=r"'.*cannot be read.*Is a directory"):
        _ = [piece async for piece in iter_content(tmp_path)]


async def test_a_view_of_any_kind_is_read_as_its_bytes() -> None:
    data = memoryview(bytes(range(240)))
    views: list[Any] = [data.cast("I"), data[::2], data.cast("B", [2, 120])]
    for view in views:
        assert size_of(view) == len(bytes(view))
        assert b"".join([piece async for piece in iter_content(view)]) == bytes(view)
    told: list[Progress] = []
    pieces = with_progress(iter_content(iter(views)), "upload", None, told.append)
    assert [piece async for piece in pieces] == [bytes(view) for view in views]
    assert told[-1].processed == sum(len(bytes(view)) for view in views)


async def test_progress_is_told_after_each_piece() -> None:
    told: list[Progress] = []
    async for _ in with_progress(cut(bytes(100), [10, 40]), "upload", 100, told.append):
        pass
    assert [(each.stage, each.percent, each.processed, each.total) for each in told] == [
        ("upload", 10, 10, 100), ("upload", 50, 50, 100), ("upload", 100, 100, 100)
    ]  # fmt: skip
    assert all(each.speed for each in told)
    told.clear()
    async for _ in with_progress(cut(bytes(100), []), "upload", None, told.append):
        pass
    assert [each.percent for each in told] == [None]


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    target, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to("file")
    with atomic_file(link) as file:
        file.write(b"one")
    with pytest.raises(TypeError), atomic_file(target) as file:
        file.writelines([b"two", 5])  # type: ignore[list-item]
    assert target.read_bytes() == b"one"
    assert link.is_symlink()
    for bad in (tmp_path, tmp_path / "no" / "such", Path("/dev/null")):
        with pytest.raises(IncusInputError), atomic_file(bad) as file:
            file.write(b"three")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "link"]
