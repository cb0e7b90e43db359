"""Go templates, as far as people use them, and tables."""

from __future__ import annotations

import pytest

from gorae.cli import tables, template
from gorae.cli.listing import as_filters, container_row, event_line, image_rows, moment
from gorae.errors import InvalidArgument

OBJECT = {"Name": "/x", "State": {"Running": True, "Code": 0}, "Args": ["a", "b"], "Labels": {"k": "v"}, "None": None}


@pytest.mark.parametrize(
    ("pattern", "printed"),
    [
        ("{{.Name}}", "/x"),
        ("{{ .State.Running }} {{.State.Code}}", "true 0"),
        ("{{json .State}}", '{"Running":true,"Code":0}'),
        ("{{.Args}}", "[a b]"),
        ("{{.Labels}}", "map[k:v]"),
        ('{{index .Labels "k"}}', "v"),
        ("{{index .Args 1}}", "b"),
        ('{{join .Args ", "}}', "a, b"),
        ("{{.Name | upper}}", "/X"),
        ("{{json .None}} {{.None}}", "null <no value>"),
        ("{{len .Args}}", "2"),
        ("a\\tb", "a\tb"),
        ("plain", "plain"),
        ("{{range .Args}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range $i, $arg := .Args}}{{$i}}={{$arg}}={{$.Name}} {{end}}", "0=a=/x 1=b=/x "),
        ("{{range $key, $value := .Labels}}{{$key}}:{{$value}}{{end}}", "k:v"),
        ("{{range .None}}x{{else}}nothing{{end}}", "nothing"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .None}}a{{else if eq .Name \"/x\"}}b{{else}}c{{end}}", "b"),
        ('{{if and .State.Running (ne .State.Code 1)}}well{{end}}', "well"),
        ("{{with .Labels}}{{.k}}{{end}}{{with .None}}x{{else}}y{{end}}", "vy"),
        ("{{(index .Args 0) | upper}} {{len (join .Args \"\")}}", "A 2"),
        ("{{$x := .Name}}{{$x}}{{$x}}", "/x/x"),
        ("a {{- /* trimmed */ -}} b {{- .Name -}} c", "ab/xc"),
        ('{{printf "%-5s|%03d|%q|%v" .Name 7 "a" .State.Running}}', '/x   |007|"a"|true'),
        ("{{slice .Name 1}}{{not .None}}{{or .None .Name}}", "xtrue/x"),
        ("{{range .Args}}{{if eq . \"b\"}}{{.}}{{end}}{{end}}", "b"),
    ],
)
def test_templates(pattern: str, printed: str) -> None:
    assert template.render(pattern, OBJECT) == printed


@pytest.mark.parametrize(
    "pattern",
    [
        "{{.Missing}}",
        "{{range .Args}}",
        "{{end}}",
        "{{if}}{{end}}",
        "{{range .Name.x}}{{end}}",
        "{{define \"x\"}}",
        "{{$y}}",
        "{{(.Name}}",
        "{{nonsense .Name}}",
        "{{}}",
        "{{index .Args 9}}",
        "{{.Name |}}",
        "{{join .Args}}",
    ],
)
def test_what_is_not_understood_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidArgument, match="template"):
        template.render(pattern, OBJECT)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.3, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (125, "2 minutes"),
        (3700, "About an hour"),
        (7300, "2 hours"),
        (86400 * 3, "3 days"),
        (86400 * 15, "2 weeks"),
        (86400 * 100, "3 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_ages(seconds: float, words: str) -> None:
    assert tables.age(seconds) == words


def test_sizes_are_decimal_with_three_digits() -> None:
    assert [tables.size(count) for count in (0, 999, 4_261_550, 123_456_789, 2_000_000_000)] == [
        "0B",
        "999B",
        "4.26MB",
        "123MB",
        "2GB",
    ]


def test_rows() -> None:
    container = {
        "Id": "a" * 64,
        "Image": "host",
        "Command": "sleep 100000000000000000000",
        "Created": 0,
        "Status": "Up 2 seconds",
        "State": "running",
        "Names": ["/x"],
        "Ports": [{"PrivatePort": 80, "Type": "tcp", "PublicPort": 8080, "IP": "0.0.0.0"}],
    }
    row = container_row(container, no_trunc=False)
    assert (row["ID"], row["Names"], row["Ports"]) == ("a" * 12, "x", "0.0.0.0:8080->80/tcp")
    assert row["Command"] == '"sleep 1000000000000…"'
    assert container_row(container, no_trunc=True)["Command"] == '"sleep 100000000000000000000"'
    image = {"Id": "sha256:" + "b" * 64, "RepoTags": ["h:5000/a:1", "c:2"], "Created": 1, "Size": 10, "RepoDigests": []}
    assert [(row["Repository"], row["Tag"]) for row in image_rows(image, False)] == [("h:5000/a", "1"), ("c", "2")]
    assert image_rows(image | {"RepoTags": []}, False)[0]["Repository"] == "<none>"


def test_filters_and_moments() -> None:
    assert as_filters(["label=a=b", "label=c", "status=exited"]) == {"label": ["a=b", "c"], "status": ["exited"]}
    with pytest.raises(InvalidArgument, match="KEY=VALUE"):
        as_filters(["x"])
    assert moment("12.5") == "12.5"
    assert moment("2020-01-01T00:00:00+00:00") == "1577836800.000000000"
    assert moment("10m", now=lambda: 1000.0) == "400.000000000"
    assert moment(None) is None


def test_an_event_is_a_line() -> None:
    event = {
        "Type": "container",
        "Action": "start",
        "timeNano": 0,
        "Actor": {"ID": "a", "Attributes": {"name": "x", "image": "host"}},
    }
    assert event_line(event) == "1970-01-01T00:00:00+00:00 container start a (image=host, name=x)"
