"""Requests that no good client sends, by what is wrong with them. `one` is a container that exists."""

from __future__ import annotations

import json


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, "Host: docker", *headers, "", ""]).encode("latin-1") + body


def post(path: str, body: bytes, kind: str = "application/json") -> bytes:
    return request(f"POST {path} HTTP/1.1", f"Content-Type: {kind}", f"Content-Length: {len(body)}", body=body)


def create(**fields: object) -> bytes:
    return post("/containers/create", json.dumps({"Image": "busybox", **fields}).encode())


CHUNKED = ("Content-Type: application/json", "Transfer-Encoding: chunked")
CREATE = "POST /containers/create HTTP/1.1"

LINES = {
    "empty line": b"\r\n\r\n",
    "no words": b"   \r\n\r\n",
    "one word": b"GET\r\n\r\n",
    "two words": b"GET /_ping\r\n\r\n",
    "four words": b"GET /_ping HTTP/1.1 more\r\nHost: d\r\n\r\n",
    "HTTP/0.9": b"GET /_ping HTTP/0.9\r\n\r\n",
    "HTTP/2.0": b"GET /_ping HTTP/2.0\r\nHost: d\r\n\r\n",
    "HTTP/9.9": b"GET /_ping HTTP/9.9\r\nHost: d\r\n\r\n",
    "HTTP/x": b"GET /_ping HTTP/x\r\nHost: d\r\n\r\n",
    "http/1.1 in small letters": b"GET /_ping http/1.1\r\nHost: d\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n",
    "zeros": b"\0" * 64 + b"\r\n\r\n",
    "ones": b"\xff" * 64 + b"\r\n\r\n",
    "only line feeds": b"GET /_ping HTTP/1.1\nHost: d\n\n",
    "only carriage returns": b"GET /_ping HTTP/1.1\rHost: d\r\r",
    "unknown method": request("BREW /_ping HTTP/1.1"),
    "empty method": b" /_ping HTTP/1.1\r\nHost: d\r\n\r\n",
    "method of 10,000 letters": request("G" * 10000 + " /_ping HTTP/1.1"),
    "method with bytes": b"G\x00T /_ping HTTP/1.1\r\nHost: d\r\n\r\n",
    "CONNECT": request("CONNECT one:80 HTTP/1.1"),
    "TRACE": request("TRACE /_ping HTTP/1.1"),
    "OPTIONS *": request("OPTIONS * HTTP/1.1"),
    "PATCH": request("PATCH /containers/json HTTP/1.1"),
}
IGNORED = {"empty line"}  # a server waits for what follows: RFC 9112, 2.2
PATHS = {
    "no slash": request("GET containers/json HTTP/1.1"),
    "absolute": request("GET http://elsewhere/containers/json HTTP/1.1"),
    "two slashes": request("GET //containers//json HTTP/1.1"),
    "dots": request("GET /../../etc/passwd HTTP/1.1"),
    "encoded dots": request("GET /containers/%2e%2e%2f%2e%2e/json HTTP/1.1"),
    "encoded NUL": request("GET /containers/%00/json HTTP/1.1"),
    "half an escape": request("GET /containers/%4/json HTTP/1.1"),
    "no escape": request("GET /containers/%zz/json HTTP/1.1"),
    "not UTF-8": request("GET /containers/%ff%fe/json HTTP/1.1"),
    "raw bytes": b"GET /containers/\xff\xfe/json HTTP/1.1\r\nHost: d\r\n\r\n",
    "line feed in a name": request("GET /containers/a%0ab/json HTTP/1.1"),
    "60,000 letters": request("GET /containers/" + "a" * 60000 + "/json HTTP/1.1"),
    "200,000 letters": request("GET /containers/" + "a" * 200000 + "/json HTTP/1.1"),
    "a fragment": request("GET /_ping#there HTTP/1.1"),
    "version 0": request("GET /v0/containers/json HTTP/1.1"),
    "version 99.99": request("GET /v99.99/containers/json HTTP/1.1"),
    "version of words": request("GET /vone.two/containers/json HTTP/1.1"),
    "version of 400 digits": request("GET /v1." + "4" * 400 + "/containers/json HTTP/1.1"),
    "negative version": request("GET /v-1.41/containers/json HTTP/1.1"),
}
QUERIES = {
    f"query {query[:30]}": request(f"GET {path}?{query} HTTP/1.1")
    for path, query in (
        ("/containers/json", "limit=many"), ("/containers/json", "limit=-5"), ("/containers/json", "limit=" + "9" * 400),
        ("/containers/json", "filters={"), ("/containers/json", "filters=[]"), ("/containers/json", "filters=5"),
        ("/containers/json", 'filters={"status":5}'), ("/containers/json", 'filters={"status":[{}]}'),
        ("/containers/json", 'filters={"nothing":["x"]}'), ("/containers/json", "filters=" + "[" * 5000),
        ("/containers/json", "all=perhaps"), ("/containers/json", "&&&==&"), ("/containers/json", "%=%"),
        ("/containers/one/logs", "stdout=1&tail=-x"), ("/containers/one/logs", "stdout=1&since=yesterday"),
        ("/containers/one/logs", ""), ("/events", "until=never"), ("/images/json", "filters=x"),
        ("/images/get", "names=" + "&names=".join("abc")), ("/containers/one/top", "ps_args=;reboot"),
    )
}  # fmt: skip
HEADERS = {
    "no host": b"GET /_ping HTTP/1.1\r\n\r\n",
    "two hosts": request("GET /_ping HTTP/1.1", "Host: other"),
    "no colon": request("GET /_ping HTTP/1.1", "Nonsense"),
    "space before the colon": request("GET /_ping HTTP/1.1", "Name : value"),
    "empty name": request("GET /_ping HTTP/1.1", ": value"),
    "bytes in a name": b"GET /_ping HTTP/1.1\r\nHost: d\r\n\xff\xfe: x\r\n\r\n",
    "NUL in a value": b"GET /_ping HTTP/1.1\r\nHost: d\r\nA: b\0c\r\n\r\n",
    "folded": request("GET /_ping HTTP/1.1", "A: b", " c"),
    "100,000 letters": request("GET /_ping HTTP/1.1", "A: " + "b" * 100_000),
    "5,000 of them": request("GET /_ping HTTP/1.1", *(f"A{number}: b" for number in range(5000))),
    "Upgrade to nothing": request("GET /_ping HTTP/1.1", "Connection: Upgrade", "Upgrade: nothing"),
    "Expect of nothing": request("GET /_ping HTTP/1.1", "Expect: the-unexpected"),
    "Content-Length of words": request(CREATE, "Content-Length: ten"),
    "Content-Length below zero": request(CREATE, "Content-Length: -1"),
    "Content-Length with a sign": request(CREATE, "Content-Length: +2", body=b"{}"),
    "two lengths": request(CREATE, "Content-Length: 2", "Content-Length: 3", body=b"{}"),
    "length and chunks": request(CREATE, *CHUNKED, "Content-Length: 2", body=b"2\r\n{}\r\n0\r\n\r\n"),
    "unknown coding": request(CREATE, "Transfer-Encoding: lines", body=b"{}"),
    "chunked twice": request(CREATE, "Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "length of 2^70": request(CREATE, "Content-Type: application/json", f"Content-Length: {2**70}", body=b"{}"),
    "chunk of no size": request(CREATE, *CHUNKED, body=b"\r\n{}\r\n0\r\n\r\n"),
    "chunk of words": request(CREATE, *CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "chunk below zero": request(CREATE, *CHUNKED, body=b"-2\r\n{}\r\n0\r\n\r\n"),
    "chunk of 2^80": request(CREATE, *CHUNKED, body=b"1" + b"0" * 20 + b"\r\n{}\r\n"),
    "chunk without its end": request(CREATE, *CHUNKED, body=b"2\r\n{}xx\r\n0\r\n\r\n"),
}
CUT_OFF = {
    "cut line": b"GET /_pi",
    "cut header": b"GET /_ping HTTP/1.1\r\nHos",
    "cut body": request(CREATE, "Content-Type: application/json", "Content-Length: 500", body=b'{"Image":'),
    "cut chunk": request(CREATE, *CHUNKED, body=b"50\r\n{"),
}
BODIES = {
    "no body": request(CREATE, "Content-Type: application/json", "Content-Length: 0"),
    "no JSON": post("/containers/create", b"not json"),
    "half JSON": post("/containers/create", b'{"Image":'),
    "JSON twice": post("/containers/create", b'{"Image":"busybox"}{"Image":"busybox"}'),
    "a list": post("/containers/create", b"[]"),
    "null": post("/containers/create", b"null"),
    "a number": post("/containers/create", b"1e400"),
    "NaN": post("/containers/create", b'{"Image":NaN}'),
    "not UTF-8": post("/containers/create", b'{"Image":"\xff\xfe"}'),
    "UTF-16": post("/containers/create", '{"Image":"busybox"}'.encode("utf-16")),
    "half a surrogate": post("/containers/create", b'{"Image":"\\ud800"}'),
    "100,000 brackets": post("/containers/create", b"[" * 100_000),
    "deep object": post("/containers/create", b'{"HostConfig":' * 2000),
    "text/plain": post("/containers/create", b'{"Image":"busybox"}', "text/plain"),
    "no media type": post("/containers/create", b'{"Image":"busybox"}', ""),
    "form": post("/containers/create", b"Image=busybox", "application/x-www-form-urlencoded"),
    "image of a number": create(Image=5),
    "command of a number": create(Cmd=5),
    "command of lists": create(Cmd=[["a"]]),
    "NUL in a command": create(Cmd=["a\0b"]),
    "NUL in the environment": create(Env=["A=\0"]),
    "environment of objects": create(Env=[{}]),
    "labels of a list": create(Labels=[]),
    "memory of words": create(HostConfig={"Memory": "much"}),
    "memory below zero": create(HostConfig={"Memory": -5}),
    "memory of 2^70": create(HostConfig={"Memory": 2**70}),
    "processors of 10^30": create(HostConfig={"NanoCpus": 10**30}),
    "bind of nothing": create(HostConfig={"Binds": [":"]}),
    "bind of relative paths": create(HostConfig={"Binds": ["a/b:../c"]}),
    "mount of nothing": create(HostConfig={"Mounts": [{}]}),
    "null in a list": create(HostConfig={"Binds": [None], "CapAdd": [None]}),
    "unknown capability": create(HostConfig={"CapAdd": ["EVERYTHING"]}),
    "unknown network mode": create(HostConfig={"NetworkMode": "container:"}),
    "unknown policy": create(HostConfig={"RestartPolicy": {"Name": "sometimes"}}),
    "ulimit of words": create(HostConfig={"Ulimits": [{"Name": "nofile", "Soft": "x"}]}),
    "stop timeout of words": create(StopTimeout="soon"),
    "signal of nonsense": create(StopSignal="SIGNONSENSE"),
    "health check of nonsense": create(Healthcheck={"Test": "x", "Interval": "y"}),
    "exec of nothing": post("/containers/one/exec", b"{}"),
    "exec of a number": post("/containers/one/exec", b'{"Cmd":5}'),
    "start of no exec": post("/exec/none/start", b"{"),
    "import of rubbish": post("/images/create?fromSrc=-&repo=x", b"rubbish" * 100, "application/x-tar"),
    "load of rubbish": post("/images/load", b"rubbish" * 100, "application/x-tar"),
    "load of nothing": post("/images/load", b"", "application/x-tar"),
    "rename to nothing": post("/containers/one/rename?name=", b""),
    "rename to a path": post("/containers/one/rename?name=../x", b""),
    "kill with nonsense": post("/containers/one/kill?signal=NONSENSE", b""),
    "stop after nonsense": post("/containers/one/stop?t=soon", b""),
    "resize to nonsense": post("/containers/one/resize?h=-1&w=x", b""),
}

REQUESTS: dict[str, bytes] = {
    **LINES,
    **{f"path: {name}": data for name, data in PATHS.items()},
    **QUERIES,
    **{f"header: {name}": data for name, data in HEADERS.items()},
    **CUT_OFF,
    **{f"body: {name}": data for name, data in BODIES.items()},
}
