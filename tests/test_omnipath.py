"""PROGENy from OmniPath, with a decoupler that is made here: no test reaches the network."""

import hashlib
import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from reconeval.errors import UsageError
from reconeval.resources import fetch_progeny, load_progeny

TABLE = pd.DataFrame(
    {
        "source": ["EGFR", "EGFR", "WNT"],
        "target": ["DUSP6", "SPRY2", "AXIN2"],
        "weight": [1.25, -0.1, 1 / 3],
        "padj": [1e-300, 0.04, 1e-5],
    }
)


class Server:
    """Stands for `decoupler`; counts what it was asked for."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.op = SimpleNamespace(progeny=self.progeny)

    def progeny(self, **options):
        self.asked.append(options)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer.copy()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("RECONEVAL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "reconeval"


@pytest.fixture
def serve(monkeypatch, cache):
    def start(answer):
        server = Server(answer)
        monkeypatch.setitem(sys.modules, "decoupler", server)
        return server

    return start


def one_line(call, *args, **options):
    with pytest.raises(UsageError) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_table_is_fetched_once_and_kept_with_its_checksum(serve, cache):
    server = serve(TABLE)
    fetched = fetch_progeny()
    pd.testing.assert_frame_equal(fetched, TABLE.rename(columns={"padj": "p_value"}))
    assert server.asked == [{"organism": "human", "license": "academic"}]
    path = cache / "progeny_human_academic.tsv"
    digest, name = (cache / f"{path.name}.sha256").read_text().split()
    assert (digest, name) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
    pd.testing.assert_frame_equal(fetch_progeny(), fetched)
    pd.testing.assert_frame_equal(load_progeny("omnipath"), fetched)
    assert len(server.asked) == 1
    assert sorted(p.name for p in cache.iterdir()) == [path.name, f"{path.name}.sha256"]


def test_a_kept_table_needs_no_decoupler(serve, monkeypatch):
    serve(TABLE)
    fetched = fetch_progeny()
    monkeypatch.setitem(sys.modules, "decoupler", None)
    pd.testing.assert_frame_equal(load_progeny("omnipath"), fetched)


def test_top_organism_license_and_folder(serve, cache, tmp_path):
    server = serve(TABLE)
    best = fetch_progeny("mouse", top=1, license="commercial", cache=tmp_path / "mine")
    assert list(best["target"]) == ["DUSP6", "AXIN2"]
    assert server.asked == [{"organism": "mouse", "license": "commercial"}]
    assert (tmp_path / "mine" / "progeny_mouse_commercial.tsv").is_file()
    assert not cache.exists()
    assert list(load_progeny("omnipath", top=1)["target"]) == ["DUSP6", "AXIN2"]


def test_refresh_replaces_what_is_kept(serve):
    serve(TABLE)
    fetch_progeny()
    serve(TABLE.assign(weight=7.0))
    assert list(fetch_progeny()["weight"]) == list(TABLE["weight"])
    assert list(fetch_progeny(refresh=True)["weight"]) == [7, 7, 7]


@pytest.mark.parametrize("damage", ["edited", "cut", "unsigned"])
def test_a_damaged_table_is_refused(serve, cache, damage):
    serve(TABLE)
    fetch_progeny()
    path = cache / "progeny_human_academic.tsv"
    if damage == "edited":
        path.write_text(path.read_text().replace("1.25", "9.25"))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.with_name(f"{path.name}.sha256").unlink()
    message = one_line(load_progeny, "omnipath")
    assert str(path) in message
    assert "fetch_progeny(refresh=True)" in message
    fetch_progeny(refresh=True)
    assert len(load_progeny("omnipath")) == 3


def test_without_decoupler_the_error_says_how_to_get_it(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "decoupler", None)
    message = one_line(fetch_progeny)
    assert "pip install 'reconeval[omnipath]'" in message
    assert "load_progeny()" in message
    assert not cache.exists()


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        (ConnectionError("no route\nto host"), ["cannot be reached", "no route to host"]),
        (TimeoutError("timed out"), ["cannot be reached", "check the network"]),
        (AssertionError("no organism nix"), ["did not give PROGENy", "no organism nix"]),
        (TABLE.drop(columns="weight"), ["no column weight", "another version of decoupler"]),
        (TABLE[:0], ["no rows"]),
    ],
)
def test_a_failing_fetch_is_one_line_and_leaves_nothing(serve, cache, answer, parts):
    serve(answer)
    message = one_line(fetch_progeny, "human")
    for part in (*parts, "load_progeny()"):
        assert part in message
    assert not cache.exists()


def test_the_errors_of_requests_count_as_no_network(serve):
    requests = pytest.importorskip("requests", reason="needs requests, which decoupler uses")
    serve(requests.exceptions.ConnectionError("Max retries exceeded"))
    assert "cannot be reached" in one_line(fetch_progeny)


def test_names_cannot_leave_the_folder(serve):
    server = serve(TABLE)
    assert "single words" in one_line(fetch_progeny, "../human")
    assert "single words" in one_line(fetch_progeny, license="a/b")
    assert server.asked == []


def test_a_folder_that_cannot_be_written(serve, tmp_path):
    serve(TABLE)
    (tmp_path / "file").write_text("")
    assert "name another folder as cache" in one_line(fetch_progeny, cache=tmp_path / "file")


def test_decoupler_has_the_call():
    decoupler = pytest.importorskip("decoupler", reason="needs decoupler to look at")
    from inspect import signature

    assert {"organism", "license"} <= set(signature(decoupler.op.progeny).parameters)
