"""Images: list, inspect, import, load, save, tag, remove, prune."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from tests.api.conftest import Client

from gorae.api.adapt.imagefilter import glob, moment
from gorae.errors import InvalidArgument

NAMED, NAMELESS = "sha256:" + "a" * 64, "sha256:" + "c" * 64


def _filters(**wanted: list[str]) -> str:
    return quote(json.dumps(wanted))


async def test_list(api: Client) -> None:
    rows = (await api.call("GET", "/images/json")).json
    assert [row["Id"] for row in rows] == [NAMED, NAMELESS]
    assert (rows[0]["RepoTags"], rows[1]["RepoTags"]) == (["tests/busybox:latest"], [])
    assert "VirtualSize" not in rows[0]
    old = (await api.call("GET", "/v1.42/images/json")).json
    assert old[1]["RepoTags"] == ["<none>:<none>"]
    assert old[0]["VirtualSize"] == 1234


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"reference": ["tests/*"]}, [NAMED]),
        ({"reference": ["tests/busybox"]}, [NAMED]),
        ({"reference": ["*"]}, []),
        ({"reference": ["*/*:l?test", "x"]}, [NAMED]),
        ({"dangling": ["true"]}, [NAMELESS]),
        ({"dangling": ["0"]}, [NAMED]),
        ({"label": ["a=b"]}, [NAMELESS]),
        ({"label": ["a=c"]}, []),
        ({"before": ["tests/busybox"]}, [NAMELESS]),
        ({"since": ["tests/busybox"]}, []),
        ({"until": ["1650000000"]}, [NAMELESS]),
        ({"until": ["10m"]}, [NAMED, NAMELESS]),
        ({"until": ["2023-11-14"]}, [NAMELESS]),
    ],
)
async def test_list_filters(api: Client, wanted: dict[str, list[str]], found: list[str]) -> None:
    rows = (await api.call("GET", f"/images/json?filters={_filters(**wanted)}")).json
    assert [row["Id"] for row in rows] == found


@pytest.mark.parametrize(
    "wanted", [{"x": ["y"]}, {"dangling": ["maybe"]}, {"reference": ["["]}, {"until": ["soon"]}, {"until": ["2023-99-99"]}]
)
async def test_bad_list_filters(api: Client, wanted: dict[str, list[str]]) -> None:
    assert (await api.call("GET", f"/images/json?filters={_filters(**wanted)}")).status == 400


async def test_inspect_history_tag_remove(api: Client) -> None:
    image = (await api.call("GET", "/images/tests/busybox:latest/json")).json
    assert image["Config"]["Cmd"] == ["sh"]
    assert image["RootFS"] == {"Type": "layers", "Layers": ["sha256:" + "b" * 64]}
    assert image["Created"] == "2023-11-14T22:13:20Z"
    assert "ContainerConfig" not in image
    old = (await api.call("GET", "/v1.40/images/tests/busybox/json")).json
    assert old["VirtualSize"] == 1234
    assert (await api.call("GET", "/images/nowhere/json")).message == "No such image: nowhere"
    history = (await api.call("GET", "/images/tests/busybox/history")).json
    assert history == [{"Id": "<missing>", "Created": 0, "CreatedBy": "import", "Tags": None, "Size": 0, "Comment": ""}]
    assert (await api.call("POST", "/images/tests/busybox/tag?repo=a/b&tag=c")).status == 201
    assert api.engine.images.calls[-1] == ("tag", ("a/b", "c"))
    assert (await api.call("POST", "/images/tests/busybox/tag")).status == 400
    removed = (await api.call("DELETE", "/images/tests/busybox")).json
    assert removed == [{"Untagged": "tests/busybox"}, {"Deleted": NAMED}]
    assert (await api.call("DELETE", "/images/nowhere")).status == 404


async def test_import(api: Client) -> None:
    target = "/images/create?fromSrc=-&repo=a&tag=b&message=m&changes=CMD+x&changes=ENV+A%3Db%0AUSER+u"
    answer = await api.call("POST", target, b"t" * 300_000, Content_Type="application/x-tar")
    assert answer.status == 200
    assert answer.json["status"] == NAMED
    size, given = api.engine.images.calls[-1][1]
    assert size == 300_000
    assert given["changes"] == ["CMD x", "ENV A=b", "USER u"]
    assert (given["repository"], given["tag"]) == ("a", "b")
    broken = await api.call("POST", "/images/create?fromSrc=-", b"garbage")
    assert (broken.status, broken.message) == (400, "not a tar archive")
    assert (await api.call("POST", "/images/create?fromSrc=http://x/")).status == 501
    assert (await api.call("POST", "/images/create")).status == 400


async def test_pull_of_what_is_here(api: Client) -> None:
    answer = await api.call("POST", "/images/create?fromImage=tests/busybox&tag=latest")
    assert answer.status == 200
    assert "up to date" in json.loads(answer.body.splitlines()[-1])["status"]
    completed = await api.call("POST", "/images/create?fromImage=registry.example/library/busybox&tag=latest")
    assert completed.status == 200
    missing = await api.call("POST", "/images/create?fromImage=alpine&tag=3")
    assert missing.status == 400
    assert "alpine:3" in missing.message


async def test_load(api: Client) -> None:
    answer = await api.call("POST", "/images/load?quiet=0", b"archive", Content_Type="application/x-tar")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert lines == [
        {"status": "Loading layer", "progressDetail": {"current": 1, "total": 2}, "id": "abc"},
        {"stream": "Loaded image: tests/busybox:latest\n"},
    ]
    quiet = await api.call("POST", "/images/load?quiet=1", b"archive")
    assert len(quiet.body.splitlines()) == 1
    broken = await api.call("POST", "/images/load", b"garbage")
    assert (broken.status, broken.message) == (400, "neither a docker archive nor an OCI layout")
    half = await api.call("POST", "/images/load", b"half")
    assert half.status == 200
    last = json.loads(half.body.splitlines()[-1])
    assert last == {"errorDetail": {"message": "layer abc is cut"}, "error": "layer abc is cut"}


async def test_save(api: Client) -> None:
    answer = await api.call("GET", "/images/get?names=tests/busybox&names=tests/busybox:latest")
    assert answer.headers["content-type"] == "application/x-tar"
    assert answer.body == b"tests/busyboxtests/busybox:latest"
    assert (await api.call("GET", "/images/tests/busybox/get")).body == b"tests/busybox"
    assert (await api.call("GET", "/images/get?names=tests/busybox&names=no")).status == 404
    assert (await api.call("GET", "/images/get")).status == 400


async def test_prune(api: Client) -> None:
    assert (await api.call("POST", "/images/prune")).json == {"ImagesDeleted": [{"Deleted": NAMELESS}], "SpaceReclaimed": 1}
    kept = await api.call("POST", f"/images/prune?filters={quote(json.dumps({'label!': ['a']}))}")
    assert kept.json == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    every = await api.call("POST", f"/images/prune?filters={_filters(dangling=['false'])}")
    assert len(every.json["ImagesDeleted"]) == 2
    assert (await api.call("POST", f"/images/prune?filters={_filters(name=['x'])}")).status == 400


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a*", "abc", True),
        ("a*", "a/b", False),
        ("a?c", "abc", True),
        ("[ab]c", "bc", True),
        ("[^ab]c", "bc", False),
        ("a\\*", "a*", True),
        ("a.c", "abc", False),
        ("[a-c]", "b", True),
    ],
)
def test_glob(pattern: str, name: str, fits: bool) -> None:
    assert bool(glob(pattern).fullmatch(name)) is fits


def test_moment() -> None:
    assert moment({}) is None
    assert moment({"until": ("1.5",)}) == 1_500_000_000
    assert moment({"until": ("2023-11-14T22:13:20Z",)}) == 1_700_000_000_000_000_000
    with pytest.raises(InvalidArgument):
        moment({"until": ("1", "2")})
