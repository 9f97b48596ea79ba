"""Files that are found again whole, or not at all."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconeval import cli
from reconeval.cache import Store, results_folder
from reconeval.cache._store import ABOUT, largest_size
from reconeval.errors import UsageError

KEY, OTHER = "ab" * 32, "cd" * 32
ABOUT_IT = {"kind": "training", "model": "Mine", "place": "immune/iid"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def file_of(store, key=KEY, name="fit"):
    return store.folder / key[:2] / key / name


def age(store, key, days):
    then = time.time() - days * 86400
    os.utime(file_of(store, key, ABOUT), (then, then))


class TestReading:
    @given(content=st.binary(max_size=200), name=st.from_regex(r"score .{1,20}", fullmatch=True))
    def test_what_was_written_comes_back(self, tmp_path_factory, content, name):
        store = Store(tmp_path_factory.mktemp("store"))
        store.write(KEY, name, content)
        assert store.failure == ""
        assert store.read(KEY, name) == content
        assert store.read(OTHER, name) is None

    def test_values_that_are_not_finite_come_back(self, store):
        store.write_json(KEY, "score", {"value": float("nan"), "seconds": 0.1})
        found = store.read_json(KEY, "score")
        assert found["value"] != found["value"]
        assert found["seconds"] == 0.1

    def test_a_file_cut_off_anywhere_is_as_if_it_were_not_there(self, store):
        store.write(KEY, "fit", b'{"a": 1}\n')
        whole = file_of(store).read_bytes()
        for length in range(len(whole)):
            file_of(store).write_bytes(whole[:length])
            assert store.read(KEY, "fit") is None

    @given(data=st.data())
    def test_a_changed_byte_is_noticed(self, tmp_path_factory, data):
        store = Store(tmp_path_factory.mktemp("store"))
        store.write(KEY, "fit", b"a few bytes of content")
        raw = bytearray(file_of(store).read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
        file_of(store).write_bytes(bytes(raw))
        assert store.read(KEY, "fit") is None

    def test_a_file_that_was_left_half_written_is_no_entry(self, store):
        store.write(KEY, "fit", b"content")
        file_of(store, name=".fit.x1y2").write_bytes(b"half")
        assert store.read(KEY, "fit") == b"content"


class TestWriting:
    def test_a_failure_is_told_and_ends_nothing(self, tmp_path):
        (tmp_path / "results").write_text("a file where the folder should be")
        store = Store(tmp_path / "results")
        store.write(KEY, "fit", b"content")
        assert "results cannot be written (" in store.failure
        assert "\n" not in store.failure
        assert store.read(KEY, "fit") is None

    def test_a_folder_that_was_cleared_meanwhile_is_made_again(self, store, monkeypatch):
        store.write(KEY, "fit", b"one")
        real, calls = Path.mkdir, []

        def cleared_once(path, *args, **kwargs):
            real(path, *args, **kwargs)
            if not calls:
                calls.append(path)
                store.remove(KEY)

        monkeypatch.setattr(Path, "mkdir", cleared_once)
        store.write(KEY, "fit", b"two")
        assert (store.failure, store.read(KEY, "fit")) == ("", b"two")

    def test_two_processes_at_once_leave_one_of_their_files_whole(self, store):
        code = """
import sys
from pathlib import Path
from reconeval.cache import Store
store = Store(Path(sys.argv[1]))
for _ in range(60):
    store.write(sys.argv[2], "fit", sys.argv[3].encode() * 50_000)
    assert store.read(sys.argv[2], "fit") is not None
assert not store.failure, store.failure
"""
        processes = [
            subprocess.Popen([sys.executable, "-c", code, str(store.folder), KEY, letter])
            for letter in "ab"
        ]
        seen = set()
        while any(process.poll() is None for process in processes):
            content = store.read(KEY, "fit")
            if content is not None:
                seen.add(content)
        assert [process.returncode for process in processes] == [0, 0]
        assert seen <= {b"a" * 50_000, b"b" * 50_000}
        assert store.read(KEY, "fit") in {b"a" * 50_000, b"b" * 50_000}


class TestForgetting:
    def test_the_least_recently_used_go_first(self, store):
        keys = [f"{i:02d}" * 32 for i in range(4)]
        for i, key in enumerate(keys):
            store.write(key, "fit", bytes(1000), about=ABOUT_IT)
            age(store, key, days=10 - i)
        Store(store.folder).read(keys[0], "fit")  # by another run, so used now
        each = next(iter(store.entries())).size
        store.trim(2 * each)
        assert {entry.key for entry in store.entries()} == {keys[0], keys[3]}

    def test_nothing_goes_while_there_is_room(self, store):
        store.write(KEY, "fit", bytes(1000), about=ABOUT_IT)
        store.trim(10_000)
        assert len(list(store.entries())) == 1

    @pytest.mark.parametrize("text", ["many", "-1", "nan", "inf"])
    def test_a_limit_that_is_no_size_is_refused(self, monkeypatch, text):
        monkeypatch.setenv("RECONEVAL_CACHE_GB", text)
        with pytest.raises(UsageError, match=r"RECONEVAL_CACHE_GB is .* expected a number of GB"):
            largest_size()

    def test_the_limit_is_in_gb(self, monkeypatch):
        assert largest_size() == 10e9
        monkeypatch.setenv("RECONEVAL_CACHE_GB", "0.5")
        assert largest_size() == 5e8


class TestCommand:
    @pytest.fixture
    def filled(self):
        store = Store(results_folder())
        store.write(KEY, "fit", bytes(2_000_000), about=ABOUT_IT)
        store.write(OTHER, "positive", b"{}", about={"kind": "data", "place": "immune/iid"})
        age(store, KEY, days=40)
        return store

    def test_info_tells_folder_entries_and_size_by_model(self, filled, capsys):
        assert cli.main(["cache", "info"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{filled.folder}: 2 entries, 2.0 MB, at most 10000 MB"
        today = time.strftime("%Y-%m-%d")
        assert lines[1] == f"  (of the data alone)  1 entry, 0.0 MB, last used {today}"
        assert "Mine" in lines[2]
        assert "1 entry, 2.0 MB" in lines[2]

    def test_info_of_an_empty_cache(self, capsys):
        assert cli.main(["cache", "info"]) == 0
        assert "0 entries, 0.0 MB" in capsys.readouterr().out

    def test_info_survives_an_entry_that_cannot_be_read(self, filled, capsys):
        file_of(filled, KEY, ABOUT).write_text("{")
        assert cli.main(["cache", "info"]) == 0
        assert "(unknown)" in capsys.readouterr().out

    def test_clear_by_age(self, filled, capsys):
        assert cli.main(["cache", "clear", "--older-than", "30"]) == 0
        assert "deleted 1 entry, 2.0 MB" in capsys.readouterr().out
        assert [entry.key for entry in filled.entries()] == [OTHER]

    def test_clear_everything(self, filled, capsys):
        assert cli.main(["cache", "clear", "--cache-dir", str(filled.folder)]) == 0
        assert list(filled.entries()) == []

    def test_clear_leaves_fetched_data_alone(self, filled):
        fetched = filled.folder.parent / "data.h5ad"
        fetched.write_text("cells")
        cli.main(["cache", "clear"])
        assert fetched.read_text() == "cells"

    def test_a_negative_age_is_refused(self, capsys):
        assert cli.main(["cache", "clear", "--older-than", "-1"]) == 4
        assert capsys.readouterr().err == (
            "reconeval cache: --older-than -1: expected a number of days, 0 or more\n"
        )

    def test_about_is_plain_json(self, filled):
        assert json.loads(file_of(filled, KEY, ABOUT).read_text()) == ABOUT_IT
