"""Manifests, indexes, descriptors, image configurations, the layout marker."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gorae.errors import CorruptData, InvalidArgument, Unsupported
from gorae.oci import descriptor, imageconfig, layout, manifest, media_type
from gorae.oci.descriptor import Descriptor
from gorae.oci.digest import Digest
from gorae.oci.imageconfig import Config, Healthcheck, History, ImageConfig, RootFS
from gorae.oci.manifest import Index, Manifest
from gorae.oci.platform import Platform

SHA = Digest.of(b"")
CONFIG = {"mediaType": media_type.OCI_CONFIG, "digest": SHA, "size": 2}
LAYER = {"mediaType": media_type.OCI_LAYER_GZIP, "digest": SHA, "size": 3}
MANIFEST: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": media_type.OCI_INDEX,
    "manifests": [
        {
            "mediaType": media_type.OCI_MANIFEST,
            "digest": SHA,
            "size": 5,
            "platform": {"architecture": "arm", "os": "linux", "variant": "v7", "os.version": "1", "os.features": ["x"]},
        }
    ],
}


def raw(document: object) -> bytes:
    return json.dumps(document).encode()


def test_a_manifest() -> None:
    found = manifest.decode(raw(MANIFEST))
    assert isinstance(found, Manifest)
    assert found.layers == (Descriptor(media_type.OCI_LAYER_GZIP, SHA, 3),)
    assert found.is_image
    assert json.loads(manifest.encode(found)) == MANIFEST


def test_an_index() -> None:
    found = manifest.decode(raw(INDEX), media_type.OCI_INDEX)
    assert isinstance(found, Index)
    assert found.manifests[0].platform == Platform("arm", "linux", "1", ("x",), "v7")
    assert json.loads(manifest.encode(found)) == INDEX


def test_dockers_types_are_read_the_same() -> None:
    config = {**CONFIG, "mediaType": media_type.DOCKER_CONFIG}
    document = {**MANIFEST, "config": config, "mediaType": media_type.DOCKER_MANIFEST}
    found = manifest.decode(raw(document), media_type.DOCKER_MANIFEST + "; charset=utf-8")
    assert isinstance(found, Manifest)
    assert found.is_image
    assert isinstance(manifest.decode(raw({**INDEX, "mediaType": media_type.DOCKER_INDEX})), Index)


def test_oci_documents_may_leave_their_type_away() -> None:
    bare = {key: value for key, value in MANIFEST.items() if key != "mediaType"}
    assert manifest.decode(raw(bare)).mediaType == media_type.OCI_MANIFEST
    assert manifest.decode(raw(bare), media_type.DOCKER_MANIFEST).mediaType == media_type.DOCKER_MANIFEST
    assert isinstance(manifest.decode(raw({"schemaVersion": 2, "manifests": []})), Index)


@pytest.mark.parametrize(
    ("document", "sent_as", "words"),
    [
        ([], None, "expected an object"),
        ({**MANIFEST, "manifests": []}, None, "ambiguous"),
        ({**INDEX, "layers": []}, None, "ambiguous"),
        ({**INDEX, "config": CONFIG}, None, "ambiguous"),
        ({**MANIFEST, "fsLayers": []}, None, "ambiguous"),
        ({**MANIFEST, "Manifests": []}, None, "only by case"),
        ({**MANIFEST, "MediaType": media_type.OCI_INDEX}, None, "only by case"),
        (MANIFEST, media_type.OCI_INDEX, "was sent as"),
        (MANIFEST, media_type.DOCKER_MANIFEST, "was sent as"),
        ({**MANIFEST, "mediaType": media_type.OCI_INDEX}, None, "members of another type"),
        ({**INDEX, "mediaType": media_type.OCI_MANIFEST}, None, "members of another type"),
        ({**MANIFEST, "mediaType": "application/json"}, None, "unsupported media type"),
        ({**MANIFEST, "mediaType": ["x"]}, None, "unsupported media type an array"),
        ({**MANIFEST, "schemaVersion": 3}, None, "schemaVersion must be 2, not 3"),
        ({"mediaType": media_type.OCI_MANIFEST}, None, "schemaVersion must be 2, not null"),
        ({"schemaVersion": 2}, None, "config is required"),
        ({**MANIFEST, "config": {**CONFIG, "size": -1}}, None, r"manifest: config\.size: expected an integer from 0"),
        ({**MANIFEST, "config": {**CONFIG, "size": (8 << 20) + 1}}, None, "config.size"),
        ({**MANIFEST, "layers": [{**LAYER, "size": 1.5}]}, None, r"layers\[0\]\.size"),
        ({**MANIFEST, "layers": [{**LAYER, "digest": "sha256:../../x"}]}, None, r"layers\[0\]\.digest: expected a digest"),
        ({**MANIFEST, "layers": [{**LAYER, "mediaType": "text\n/x"}]}, None, r"layers\[0\]\.mediaType: expected a media type"),
        ({**MANIFEST, "layers": [LAYER] * 1001}, None, "1001 layers"),
        ({**INDEX, "manifests": [{**CONFIG, "size": (4 << 20) + 1}]}, None, r"manifests\[0\].size"),
    ],
)
def test_refused(document: object, sent_as: str | None, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        manifest.decode(raw(document), sent_as)


def test_a_member_twice_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="twice"):
        manifest.decode(raw(MANIFEST)[:-1] + b', "layers": []}')


def test_a_manifest_is_bounded() -> None:
    with pytest.raises(InvalidArgument, match="bytes are more"):
        manifest.decode(raw({**MANIFEST, "annotations": {"x": "y" * manifest.LIMIT}}))


@pytest.mark.parametrize("document", [{"schemaVersion": 1, "fsLayers": [], "history": []}, {"schemaVersion": 1}])
def test_schema_1_is_known_but_not_supported(document: object) -> None:
    with pytest.raises(Unsupported, match="schema 1"):
        manifest.decode(raw(document))


def test_a_descriptor_describes_its_bytes() -> None:
    found = descriptor.describe(media_type.OCI_EMPTY, b"{}")
    descriptor.check(found, b"{}")
    with pytest.raises(CorruptData, match="3 bytes, not 2"):
        descriptor.check(found, b"{} ")
    with pytest.raises(CorruptData, match="its digest is"):
        descriptor.check(found, b"[]")
    assert descriptor.embedded(found) is None


def test_embedded_data_is_verified() -> None:
    def carrying(data: str) -> Descriptor:
        return Descriptor(media_type.OCI_EMPTY, Digest.of(b"{}"), 2, data=data)

    assert descriptor.embedded(carrying(base64.b64encode(b"{}").decode())) == b"{}"
    for data in ("!", base64.b64encode(b"[]").decode(), base64.b64encode(b"{}}").decode()):
        with pytest.raises(CorruptData):
            descriptor.embedded(carrying(data))


def test_compression_of_media_types() -> None:
    assert {each: media_type.compression(each) for each in media_type.LAYERS - media_type.FOREIGN} == {
        media_type.OCI_LAYER: "",
        media_type.OCI_LAYER_GZIP: "gzip",
        media_type.OCI_LAYER_ZSTD: "zstd",
        media_type.DOCKER_LAYER: "",
        media_type.DOCKER_LAYER_GZIP: "gzip",
        media_type.DOCKER_LAYER_ZSTD: "zstd",
    }


DOCUMENT: dict[str, Any] = {
    "created": "2015-10-31T22:22:56.015925234Z",
    "author": "Alyssa P. Hacker",
    "architecture": "arm64",
    "os": "linux",
    "variant": "v8",
    "config": {
        "User": "alice",
        "ExposedPorts": {"443/tcp": {}, "8080/tcp": {}},
        "Env": ["PATH=/bin", "FOO=a=b"],
        "Entrypoint": ["/bin/app"],
        "Cmd": [],
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30000000000, "Retries": 3},
        "Volumes": {"/var/log": {}},
        "WorkingDir": "/home/alice",
        "Labels": {"a.b": "c"},
        "StopSignal": "SIGKILL",
        "OnBuild": ["RUN x"],
        "Shell": ["/bin/sh", "-c"],
    },
    "rootfs": {"type": "layers", "diff_ids": [SHA, SHA]},
    "history": [{"created": "2015-10-31T22:22:54Z", "created_by": "ADD"}, {"created_by": "CMD", "empty_layer": True}],
}


def test_an_image_configuration() -> None:
    more = {"container_config": {"Cmd": None}, "config": {**DOCUMENT["config"], "Hostname": "x"}}
    found = imageconfig.decode(raw({**DOCUMENT, **more}))
    assert found.platform == Platform("arm64", "linux")
    assert found.config.ExposedPorts == {"443/tcp", "8080/tcp"}
    assert found.config.Cmd == ()
    assert found.config.Healthcheck == Healthcheck(("CMD-SHELL", "true"), 30000000000, Retries=3)
    assert found.history[1] == History(created_by="CMD", empty_layer=True)
    assert json.loads(imageconfig.encode(found)) == DOCUMENT


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"rootfs": {"type": "layers+base", "diff_ids": []}}, "rootfs.type: expected one of 'layers'"),
        ({"rootfs": {"type": "layers", "diff_ids": ["sha256:zz"]}}, r"rootfs.diff_ids\[0\]: expected a digest"),
        ({"rootfs": {"type": "layers", "diff_ids": [SHA] * 1001}}, "1001 layers"),
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "its history has 1 layers, its rootfs 0"),
        ({"config": {"Env": "PATH"}}, "config.Env: expected an array"),
        ({"config": {"Entrypoint": [1]}}, r"config.Entrypoint\[0\]: expected a string"),
        ({"config": {"ExposedPorts": ["80"]}}, "config.ExposedPorts: expected an object"),
        ({"architecture": None}, "architecture is required"),
        ({"rootfs": None}, "rootfs is required"),
    ],
)
def test_configurations_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        imageconfig.decode(raw({**DOCUMENT, **members}))


STRINGS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=5)
WORDS = st.lists(STRINGS, max_size=3).map(tuple)
SETS = st.frozensets(STRINGS, max_size=3)
CONFIGS = st.builds(
    Config,
    User=STRINGS,
    ExposedPorts=SETS,
    Env=WORDS,
    Entrypoint=st.none() | WORDS,
    Cmd=st.none() | WORDS,
    Healthcheck=st.none() | st.builds(Healthcheck, WORDS, st.integers(0, 2**63 - 1)),
    Volumes=SETS,
    Labels=st.dictionaries(STRINGS, STRINGS, max_size=3),
    Shell=WORDS,
)


@settings(max_examples=60)
@given(CONFIGS, st.lists(st.binary(max_size=2).map(Digest.of), max_size=3))
def test_configurations_survive_a_round_trip(config: Config, layers: list[Digest]) -> None:
    value = ImageConfig("amd64", "linux", RootFS("layers", tuple(layers)), config)
    data = imageconfig.encode(value)
    assert imageconfig.decode(data) == value
    assert imageconfig.encode(imageconfig.decode(data)) == data


def test_the_layout_marker() -> None:
    assert layout.decode(b'{"imageLayoutVersion": "1.0.0"}').imageLayoutVersion == layout.VERSION
    assert layout.blob_path(SHA) == f"blobs/sha256/{SHA.hex}"
    for data in (b"{}", b'{"imageLayoutVersion": "2.0.0"}', b" " * 5000):
        with pytest.raises(InvalidArgument):
            layout.decode(data)
