"""wsgi.file_wrapper: PEP 3333, section "Optional Platform-Specific File Handling"."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from django.core.files import File

from geventwsgi.wsgi.files import BLOCK_SIZE, FileWrapper, regular_extent

CONTENT = b"0123456789" * 10


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


# The wrapper


def test_it_iterates_over_blocks_to_the_end__pep3333_file_handling():
    assert list(FileWrapper(io.BytesIO(b"abcde"), 2)) == [b"ab", b"cd", b"e"]


def test_it_begins_at_the_files_position__pep3333_file_handling():
    file = io.BytesIO(b"abcde")
    file.seek(3)
    assert b"".join(FileWrapper(file)) == b"de"


def test_the_block_size_is_a_hint__pep3333_file_handling():
    sizes = []

    class Recorder(io.BytesIO):
        def read(self, size):
            sizes.append(size)
            return super().read(size)

    list(FileWrapper(Recorder()))
    assert sizes == [BLOCK_SIZE]


@pytest.mark.parametrize(("length", "blocks"), [(0, []), (1, [b"a"]), (3, [b"ab", b"c"]), (9, [b"ab", b"cd", b"e"])])
def test_blocks_end_at_the_content_length__pep3333_file_handling(length, blocks):
    file = io.BytesIO(b"abcde")
    assert list(FileWrapper(file, 2).blocks(length)) == blocks
    assert file.tell() == sum(map(len, blocks))


def test_close_closes_the_file__pep3333_file_handling():
    file = io.BytesIO()
    FileWrapper(file).close()
    assert file.closed


def test_a_file_without_close_needs_none__pep3333_file_handling():
    class Minimal:
        def read(self, _size):
            return b""

    FileWrapper(Minimal()).close()
    assert list(FileWrapper(Minimal())) == []


# Which files the kernel may send


@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.parametrize("mode", ["rb", "r+b"])
@pytest.mark.parametrize("position", [0, 7, 100])
def test_a_regular_file_is_sent_from_its_position__pep3333_file_handling(path, mode, buffering, position):
    with path.open(mode, buffering) as file:
        file.seek(position)
        assert regular_extent(file) == (file.fileno(), position, 100 - position)


def test_bytes_that_were_read_ahead_are_not_skipped__pep3333_file_handling(path):
    with path.open("rb") as file:
        file.read(3)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 100
        assert regular_extent(file) == (file.fileno(), 3, 97)


def test_a_position_past_the_end_leaves_nothing(path):
    with path.open("rb") as file:
        file.seek(1000)
        assert regular_extent(file) == (file.fileno(), 1000, 0)


@pytest.mark.parametrize("make", [tempfile.TemporaryFile, tempfile.NamedTemporaryFile])
def test_a_temporary_file_is_a_regular_file(make):
    with make() as file:
        file.write(CONTENT)
        file.seek(5)
        assert regular_extent(file) == (file.fileno(), 5, 95)


def test_what_has_no_descriptor_is_read(path):
    assert regular_extent(io.BytesIO(CONTENT)) is None
    assert regular_extent(object()) is None


def test_a_closed_file_is_read_and_so_fails_as_files_do(path):
    with path.open("rb") as file:
        pass
    assert regular_extent(file) is None


def test_a_text_file_is_read_and_so_refused(path):
    with path.open() as file:
        assert regular_extent(file) is None


def test_a_pipe_is_read():
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as file:
        assert regular_extent(file) is None


def test_a_decompressing_file_is_read_whose_descriptor_has_other_bytes(tmp_path):
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(CONTENT))
    with gzip.open(path) as file, io.BufferedReader(gzip.open(path)) as buffered:
        assert isinstance(file.fileno(), int) and isinstance(buffered.fileno(), int)
        assert regular_extent(file) is None
        assert regular_extent(buffered) is None


def test_a_wrapper_that_hands_out_the_files_own_read_counts_as_the_file(path):
    with path.open("rb") as file:
        wrapper = File(file)
        wrapper.read(1)
        assert regular_extent(wrapper) == (file.fileno(), 1, 99)


def test_a_wrapper_that_changes_what_it_reads_is_read(path):
    class Decrypting:
        def __init__(self, file):
            self.file = file
            self.fileno, self.tell = file.fileno, file.tell

        def read(self, size):
            return self.file.read(size)[::-1]

    class Shouting(io.BufferedReader):
        def read(self, size=-1):
            return super().read(size).upper()

    with path.open("rb") as file:
        assert regular_extent(Decrypting(file)) is None
    with Shouting(io.FileIO(path)) as file:
        assert regular_extent(file) is None


def test_a_member_of_an_archive_is_read(tmp_path, path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(path, "member")
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert regular_extent(archive.extractfile("member")) is None


def test_a_spooled_file_in_memory_is_read_without_being_written_to_disk():
    with tempfile.SpooledTemporaryFile(max_size=1000) as file:
        file.write(CONTENT)
        file.seek(0)
        assert regular_extent(file) is None
        assert not file._rolled


@pytest.mark.parametrize("path", ["/proc/self/status", "/sys/class/net/lo/address"])
def test_a_file_that_is_made_as_it_is_read_is_read_whatever_its_size_says(path):
    if not Path(path).exists():
        pytest.skip(f"there is no {path} here")
    with Path(path).open("rb") as file:
        assert regular_extent(file) is None
        assert b"".join(FileWrapper(file))


def test_a_sparse_file_has_its_size(tmp_path):
    with (tmp_path / "sparse").open("w+b") as file:
        file.truncate(5 << 30)
        assert regular_extent(file) == (file.fileno(), 0, 5 << 30)
