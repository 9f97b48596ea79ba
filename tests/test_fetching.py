"""Fetching from a server of our own: whole, interrupted, refused, damaged, without room."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest

from reconeval import cli
from reconeval._cache import cache_folder
from reconeval.datasets import _download, catalogue, fetching
from reconeval.datasets._download import readable_size
from reconeval.datasets.fetching import fetch, fetched_names, fetched_path, load_fetched
from reconeval.errors import UsageError

NAME = "kang_2018"
REAL = catalogue.read_catalogue()


@dataclass
class Server:
    """What the server does, and what it was asked."""

    content: bytes
    tag: str = '"v1"'
    ranges: bool = True
    status: int = 200
    cut: int | None = None
    asked: list = field(default_factory=list)
    url: str = ""
    before_answer: object = None


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        state = self.server.state
        state.asked.append(dict(self.headers))
        if state.before_answer:
            state.before_answer()
        if state.status != 200:
            self.send_error(state.status)
            return
        start = self.start(state)
        if start >= len(state.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(state.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            end = len(state.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(state.content)}")
        if state.tag:
            self.send_header("ETag", state.tag)
        self.send_header("Content-Length", str(len(state.content) - start))
        self.end_headers()
        self.wfile.write(state.content[start : state.cut])

    def start(self, state):
        asked = self.headers.get("Range")
        if not (asked and state.ranges) or self.headers.get("If-Range") != state.tag:
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A file in the layout of the source, of some blocks."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("source") / "source.h5ad"
    counts = rng.poisson(2, (300, 200)).astype(np.float32)
    obs = pd.DataFrame(
        {
            "label": rng.choice(["ctrl", "stim"], 300),
            "cell_type": rng.choice(["B cells", "NK cells"], 300),
            "replicate": rng.choice(["patient_1", "patient_2"], 300),
        },
        index=[f"cell{i}" for i in range(300)],
    )
    anndata.AnnData(counts, obs, pd.DataFrame(index=[f"G{i}" for i in range(200)])).write_h5ad(path)
    content = path.read_bytes()
    assert len(content) > 3 * _download._BLOCK
    return content


@pytest.fixture
def server(content, monkeypatch):
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.state = Server(content, url=f"http://127.0.0.1:{httpd.server_port}/data.h5ad")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield httpd.state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECONEVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def entry(server, cache, monkeypatch):
    """Return a function that changes the catalogue's entry; it points to the server."""

    def change(**changes):
        digest = hashlib.sha256(server.content).hexdigest()
        ours = {"url": server.url, "checksum": f"sha256:{digest}", **changes}
        entries = {**REAL, NAME: replace(REAL[NAME], **ours)}
        for module in (catalogue, fetching):
            monkeypatch.setattr(module, "read_catalogue", lambda: entries)

    change()
    return change


def one_line(call, *args, **options):
    with pytest.raises(UsageError) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def files(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


WHOLE = [f"{NAME}.h5ad", f"{NAME}.h5ad.sha256"]


def test_a_file_is_fetched_once_verified_and_kept(server, entry, cache):
    path = fetch(NAME)
    assert path == cache / f"{NAME}.h5ad"
    assert path.read_bytes() == server.content
    digest, name = (cache / f"{NAME}.h5ad.sha256").read_text().split()
    assert (digest, name) == (hashlib.sha256(server.content).hexdigest(), path.name)
    assert files(cache) == WHOLE
    assert fetch(NAME) == path
    assert len(server.asked) == 1
    assert fetched_names() == (NAME,)


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_both_kinds_of_checksum_are_asked_of_the_file(server, entry, cache, algorithm):
    entry(checksum=f"{algorithm}:{hashlib.new(algorithm, server.content).hexdigest()}")
    assert fetch(NAME).read_bytes() == server.content
    entry(checksum=f"{algorithm}:{hashlib.new(algorithm, b'other').hexdigest()}")
    assert "another checksum" in one_line(fetch, NAME, folder=cache / "other")


def test_a_cut_download_goes_on_where_it_stopped(server, entry, cache):
    server.cut = 2 * _download._BLOCK + 100
    message = one_line(fetch, NAME)
    assert "the connection broke" in message
    assert f"go on from {readable_size(2 * _download._BLOCK)}" in message
    assert files(cache) == [f"{NAME}.h5ad.part", f"{NAME}.h5ad.part.tag"]
    assert fetched_names() == ()
    server.cut = None
    assert fetch(NAME).read_bytes() == server.content
    assert server.asked[1]["Range"] == f"bytes={2 * _download._BLOCK}-"
    assert server.asked[1]["If-Range"] == server.tag
    assert files(cache) == WHOLE


@pytest.mark.parametrize("left", [1, 1000, 100_000])
def test_the_rest_is_asked_for_from_any_byte_on(server, entry, cache, left):
    start = len(server.content) - left
    keep_part(cache, server.content[:start], server.tag)
    assert fetch(NAME).read_bytes() == server.content
    assert server.asked[0]["Range"] == f"bytes={start}-"


def keep_part(folder, content, tag):
    folder.mkdir(exist_ok=True)
    (folder / f"{NAME}.h5ad.part").write_bytes(content)
    (folder / f"{NAME}.h5ad.part.tag").write_text(tag)


def test_a_whole_part_that_was_never_checked_is_not_sent_again(server, entry, cache):
    keep_part(cache, server.content, server.tag)
    assert fetch(NAME).read_bytes() == server.content
    assert files(cache) == WHOLE
    assert len(server.asked) == 1


def test_a_part_longer_than_the_file_is_dropped(server, entry, cache):
    keep_part(cache, server.content + b"more", server.tag)
    assert "HTTP 416" in one_line(fetch, NAME)
    assert fetch(NAME).read_bytes() == server.content


def test_a_server_without_ranges_sends_all_again(server, entry, cache):
    server.ranges = False
    keep_part(cache, server.content[:5000], server.tag)
    assert fetch(NAME).read_bytes() == server.content
    assert server.asked[0]["Range"] == "bytes=5000-"


def test_another_version_is_not_joined_to_the_part(server, entry, cache):
    entry(checksum=None)
    keep_part(cache, b"old" * 1000, '"v0"')
    assert fetch(NAME).read_bytes() == server.content


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_tag_to_ask_by_all_is_sent_again(server, entry, cache, tag):
    server.tag, server.cut = tag, 2 * _download._BLOCK
    one_line(fetch, NAME)
    server.cut = None
    assert fetch(NAME).read_bytes() == server.content
    assert "Range" not in server.asked[1]


def test_a_wrong_checksum_leaves_nothing_to_go_on_from(server, entry, cache):
    entry(checksum="sha256:" + "0" * 64)
    message = one_line(fetch, NAME)
    assert "another checksum" in message
    assert "look for a new version on https://" in message
    assert files(cache) == []


def test_an_unpublished_checksum_is_that_of_the_first_download(server, entry, cache):
    entry(checksum=None)
    path = fetch(NAME)
    path.unlink()
    server.content += b"edited"
    server.tag = '"v2"'
    message = one_line(fetch, NAME)
    assert "another checksum" in message
    assert f"delete {path}.sha256 to take the new version" in message
    assert files(cache) == [f"{NAME}.h5ad.sha256"]
    (cache / f"{NAME}.h5ad.sha256").unlink()
    assert fetch(NAME).read_bytes() == server.content


def test_a_page_instead_of_the_file_is_not_recorded(server, entry, cache):
    entry(checksum=None)
    server.content = b"<html>sign in</html>"
    assert "no .h5ad file" in one_line(fetch, NAME)
    assert files(cache) == []


@pytest.mark.parametrize(
    ("status", "parts"),
    [
        (404, ["HTTP 404", "may have moved", "save it as", f"{NAME}.h5ad"]),
        (403, ["HTTP 403", "may have moved"]),
        (429, ["HTTP 429", "try again later"]),
        (500, ["HTTP 500", "try again later"]),
    ],
)
def test_a_failing_server(server, entry, cache, status, parts):
    server.status = status
    message = one_line(fetch, NAME)
    for part in (NAME, server.url, *parts):
        assert part in message
    assert files(cache) == []


def test_what_was_got_survives_a_failing_server(server, entry, cache):
    keep_part(cache, server.content[:5000], server.tag)
    server.status = 503
    assert "go on from 5 kB" in one_line(fetch, NAME)
    server.status = 200
    assert fetch(NAME).read_bytes() == server.content
    assert server.asked[1]["Range"] == "bytes=5000-"


def test_no_network(server, entry, cache):
    entry(url="http://127.0.0.1:9/data.h5ad")  # the port of discard, where nobody listens
    message = one_line(fetch, NAME)
    assert "cannot be reached (Connection refused); check the network and the proxy" in message


def test_a_host_that_nobody_knows(server, entry, cache):
    entry(url="http://nowhere.invalid/data.h5ad")  # a name that is reserved to lead nowhere
    message = one_line(fetch, NAME)
    assert re.search(r"cannot be reached \([A-Za-z ,]+\); check the network", message)
    assert message.count("nowhere.invalid") == 1


def test_a_proxy_that_is_not_there(server, entry, cache, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    entry(url="http://nowhere.invalid/data.h5ad")
    assert "cannot be reached (the proxy: Connection refused)" in one_line(fetch, NAME)


def test_an_address_that_is_none(server, entry, cache):
    entry(url="http:///data.h5ad")
    assert "cannot be reached (Invalid URL" in one_line(fetch, NAME)


def test_a_disk_without_room_is_refused_before_anything_is_written(
    server, entry, cache, monkeypatch
):
    monkeypatch.setattr(_download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    message = one_line(fetch, NAME)
    assert f"the disk of {cache} is full" in message
    assert f"{readable_size(len(server.content))} are needed" in message
    assert "name another one by --dir" in message
    assert files(cache) == [f"{NAME}.h5ad.part.tag"]


def test_a_disk_that_fills_up_keeps_what_was_got(server, entry, cache, monkeypatch):
    class Full(_download.Downloader):
        def _write(self, answer):
            answer.iter_content = filling(answer.iter_content)
            super()._write(answer)

    def filling(blocks):
        def until_full(size):
            yield next(blocks(size))
            raise OSError(errno.ENOSPC, "No space left on device")

        return until_full

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "Downloader", Full)
        message = one_line(fetch, NAME)
    assert f"the disk of {cache} is full" in message
    assert f"go on from {readable_size(_download._BLOCK)}" in message
    assert fetch(NAME).read_bytes() == server.content
    assert server.asked[1]["Range"] == f"bytes={_download._BLOCK}-"


def test_the_word_of_a_full_device(server, entry, cache, monkeypatch):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full, a device that is always full")
    cache.mkdir()
    (cache / f"{NAME}.h5ad.part").symlink_to(full)
    monkeypatch.setattr(_download.Downloader, "forget", lambda self: None)
    assert "No space left on device" in one_line(fetch, NAME)


def test_a_folder_that_cannot_be_written(server, entry, tmp_path):
    (tmp_path / "file").write_text("")
    message = one_line(fetch, NAME, folder=tmp_path / "file")
    assert "cannot be written" in message
    assert "--dir" in message


def test_a_second_process_waits_and_asks_no_server(server, entry, cache):
    asked, go = threading.Event(), threading.Event()

    def hold():
        asked.set()
        go.wait(10)

    server.before_answer = hold
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(NAME))) for _ in range(2)]
    threads[0].start()
    assert asked.wait(10)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join()
    assert paths == [cache / f"{NAME}.h5ad"] * 2
    assert len(server.asked) == 1


def test_an_edited_file_is_noticed_and_fetched_again(server, entry, cache):
    path = fetch(NAME)
    assert fetched_path(NAME) == path
    record = cache / f"{NAME}.h5ad.sha256"
    path.touch()
    assert fetched_path(NAME) == path
    assert record.stat().st_mtime_ns >= path.stat().st_mtime_ns
    path.write_bytes(server.content[:-1] + b"!")
    message = one_line(fetched_path, NAME)
    assert "was edited; run: reconeval datasets fetch kang_2018" in message
    assert fetch(NAME).read_bytes() == server.content
    assert fetched_path(NAME) == path


def test_what_was_not_fetched_is_never_asked_for(server, entry, cache):
    message = one_line(load_fetched, NAME)
    assert f"not in {cache}; run: reconeval datasets fetch {NAME}" in message
    other = one_line(fetched_path, NAME, folder=cache / "other")
    assert f"--dir {cache / 'other'}" in other
    assert server.asked == []


def test_a_source_without_an_address_is_fetched_by_hand(server, entry, cache):
    entry(url=None, by_hand="press the button", checksum=None)
    message = one_line(fetch, NAME)
    for part in ("cannot be downloaded for you", "press the button", f"{cache / NAME}.h5ad"):
        assert part in message
    assert list(cache.iterdir()) == []
    path = cache / f"{NAME}.h5ad"
    path.write_bytes(b"<html>")
    assert "not an HDF5 file" in one_line(fetch, NAME)
    path.write_bytes(server.content)
    assert fetch(NAME) == path
    assert sorted(kept.name for kept in cache.iterdir()) == WHOLE  # without a lock
    assert fetched_path(NAME) == path
    path.write_bytes(server.content + b"edited")
    assert "damaged, edited or another version" in one_line(fetch, NAME)
    assert server.asked == []


def test_a_fetched_file_is_loaded_in_the_common_schema(server, entry, cache):
    fetch(NAME)
    adata = load_fetched(NAME, cells=100, genes=50)
    assert adata.shape == (100, 50)
    assert set(adata.obs["perturbation"]) == {"ctrl", "stim"}
    assert adata.uns["control"] == "ctrl"
    assert adata.uns["sha256"] == hashlib.sha256(server.content).hexdigest()


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RECONEVAL_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "reconeval"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "reconeval"
    monkeypatch.setenv("RECONEVAL_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_the_command_fetches_and_says_how_to_go_on(server, entry, cache, capsys):
    assert cli.main(["datasets", "fetch", NAME, "--dir", str(cache / "own")]) == 0
    captured = capsys.readouterr()
    assert "Kang et al. 2018" in captured.out
    assert "licence:" in captured.out
    assert f"RECONEVAL_CACHE={cache / 'own'} pytest benchmarks --dataset {NAME}" in captured.out
    assert captured.err == ""  # no bar in a log
    assert files(cache / "own") == WHOLE


def test_the_command_lists_what_there_is(server, entry, cache, capsys):
    fetch(NAME)
    assert cli.main(["datasets", "fetch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:4] == [NAME, "37", "MB", "yes"]
    assert [line.split()[0] for line in lines[1:]] == list(catalogue.catalogue_names())


def test_a_deleted_file_is_not_here(server, entry, cache):
    fetch(NAME).unlink()
    assert fetched_names() == ()


def test_describe_tells_what_can_be_fetched(server, entry, cache, capsys):
    assert cli.main(["datasets", "describe", NAME]) == 0
    text = capsys.readouterr().out
    for part in (REAL[NAME].doi, REAL[NAME].licence, "'ctrl' in obs['label']", "37 MB"):
        assert part in text
    assert f"not here; run: reconeval datasets fetch {NAME}" in text
    path = fetch(NAME)
    assert cli.main(["datasets", "describe", NAME]) == 0
    assert str(path) in capsys.readouterr().out


def test_verify_reads_a_fetched_file(server, entry, cache, capsys):
    assert cli.main(["datasets", "verify", NAME]) == 1
    assert f"run: reconeval datasets fetch {NAME}" in capsys.readouterr().err
    path = fetch(NAME)
    assert cli.main(["datasets", "verify", NAME]) == 0
    assert capsys.readouterr().out == f"{path}: ok\n"
    stamp = path.stat().st_mtime_ns
    path.write_bytes(server.content[:-1] + b"!")
    os.utime(path, ns=(stamp, stamp))  # as a disk does that loses bits
    assert fetched_path(NAME) == path
    assert cli.main(["datasets", "verify", NAME]) == 1
    assert "it is damaged or was edited" in capsys.readouterr().err


def test_the_command_fails_in_one_line(server, entry, cache, capsys):
    server.status = 404
    assert cli.main(["datasets", "fetch", NAME]) == 4
    assert cli.main(["datasets", "fetch", "kang_2019"]) == 4
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "did you mean kang_2018?" in errors[1]


def test_an_interrupted_command_says_so(server, entry, cache, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_download.Downloader, "_is_whole", interrupt)
        assert cli.main(["datasets", "fetch", NAME]) == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to go on\n"
    assert cli.main(["datasets", "fetch", NAME]) == 0


def test_the_bar_on_a_terminal_ends_at_the_whole(server, entry, cache, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with _download.progress_bar("cells", shown=True) as report:
        report(0, None)
        report(10, 10)
    assert fetch(NAME, show=True).is_file()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (5000, "5 kB"),
        (37_400_000, "37.4 MB"),
        (227_497_986_816, "227 GB"),
        (10**16, "1e+04 TB"),
    ],
)
def test_sizes_in_words(size, text):
    assert readable_size(size) == text
