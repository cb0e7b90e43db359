"""One root file system a session; a context with a cgroup of its own a test; and a look at what was left behind."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gorae.linux import fd
from gorae.linux.mount import mountinfo
from gorae.runtime import life, plain
from gorae.runtime.birth import Context, RootMount, Step
from gorae.runtime.fast import flight
from tests.runtime import stage

OURS = re.compile(r"/$|/(proc|sys|dev|tmp/pytest-of)(/|$)")
_numbers = itertools.count(1)


# The kernel suites that hold for both executors.
BOTH = {"test_" + name for name in ("defaults", "escape", "mounts", "exec", "plain", "namespaces", "console", "identity")}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("kernel") and metafunc.module.__name__.rpartition(".")[2] in BOTH:
        metafunc.parametrize("executor", ["fast", "plain"], indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def executor(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which one bears children; fast unless a test is run with both."""
    name = getattr(request, "param", "fast")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(life, "FAST", name == "fast")
        yield name


@pytest.fixture
def fail_at(executor: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make one step of the child's fail with EIO, by its number."""

    def fail(wanted: int) -> None:
        def fault(number: int, _: Step) -> None:
            if number == wanted:
                raise OSError(errno.EIO, "made to fail")

        monkeypatch.setattr(plain, "fault", fault)
        monkeypatch.setattr(flight, "fault", lambda flight: flight.starts[wanted])

    return fail


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to: use `rootfs` or `overlay`."""
    if not os.path.exists(stage.BUSYBOX):
        subprocess.run(["apt-get", "install", "-y", "-q", "busybox-static"], check=True, stdout=subprocess.DEVNULL)
    return stage.make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")


@pytest.fixture
def rootfs(image: Path, tmp_path: Path) -> Path:
    """A copy of the image that the test may damage."""
    return Path(shutil.copytree(image, tmp_path / "rootfs", symlinks=True))


@pytest.fixture
def context() -> Context:
    """With a cgroup that nobody else uses; `stage.Running` removes it."""
    name = f"{os.getpid()}-{next(_numbers)}"
    return Context(id=f"box-{name}", cgroup=f"/gorae-test-{name}", cgroup_layout=stage.layout())


@pytest.fixture
def overlay(image: Path, tmp_path: Path) -> tuple[Path, tuple[RootMount, ...]]:
    """`(root.path, Context.rootfs)`: an overlay with the image below."""
    for name in ("merged", "upper", "work"):
        (tmp_path / name).mkdir()
    options = (f"lowerdir={image}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work")
    return tmp_path / "merged", (RootMount("overlay", "overlay", options),)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each kernel test: no mount, cgroup, child or descriptor more than before."""
    if request.node.get_closest_marker("kernel") is None:
        yield
        return
    before = snapshot()
    yield
    assert snapshot() == before


def snapshot() -> dict[str, object]:
    layout = stage.layout()
    return {
        # Others may mount things of theirs below /run and /var meanwhile.
        "mounts": [(each.mount_point, each.fs_type) for each in mountinfo() if OURS.match(each.mount_point)],
        "cgroups": sorted(
            f"{each.directory}/{name}"
            for each in layout.hierarchies
            for name in os.listdir(each.directory)
            if name.startswith(f"gorae-test-{os.getpid()}")
        ),
        "children": children(),
        "descriptors": fd.open_descriptors(),
        "namespaces": [
            os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid_for_children", "time_for_children", "mnt", "net", "user")
        ],
    }


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
