"""The interpreter of a program that touches containers cannot be written to through /proc/PID/exe."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gorae.runtime import reexec

SOURCE = str(Path(reexec.__file__).parents[2])
PROBE = """
import os, sys
def main():
    from gorae.runtime import reexec
    reexec.through_readonly_interpreter(("probe", *sys.argv[1:]))
    import json
    print(json.dumps({
        "protected": reexec.protected(),
        "argv": sys.argv,
        "pid": os.getpid(),
        "path": sys.path[-1],
        "isolated": sys.flags.isolated,
        "site": "site" in sys.modules,
        "variable": os.environ["PROBE"],
        "descriptors": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
    }))
    return 7
"""
FIRST = "import sys; sys.path.pop(0); sys.path.insert(0, {directory!r}); import probe; sys.exit(probe.main())"


@pytest.mark.kernel
def test_the_program_goes_on_protected_with_its_pid_environment_and_status(tmp_path: Path) -> None:
    (tmp_path / "gorae").symlink_to(Path(SOURCE) / "gorae")
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "json.py").write_text("raise SystemExit('a file in the working directory was imported')")
    started = subprocess.Popen(
        [sys.executable, "-c", FIRST.format(directory=str(tmp_path)), "a b", "-c"],
        env={"PROBE": "1", "PYTHONSTARTUP": "/nonexistent", "PYTHONPATH": "/nonexistent"},
        stdout=subprocess.PIPE,
        cwd="/",
    )
    output, _ = started.communicate()
    assert started.returncode == 7
    told = json.loads(output)
    assert told == {
        "protected": True,
        "argv": ["probe", "a b", "-c"],
        "pid": started.pid,
        "path": str(tmp_path),
        "isolated": 1,
        "site": False,
        "variable": "1",
        "descriptors": [0, 1, 2],
    }


def write_through(descriptor: int) -> int:
    """The errno of opening for writing what the descriptor stands for, as an attacker would through /proc/PID/fd."""
    try:
        os.close(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY))
    except OSError as error:
        return error.errno or 0
    return 0


@pytest.mark.kernel
def test_nobody_can_write_through_the_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "interpreter"
    shutil.copy("/bin/true", interpreter)
    monkeypatch.setattr(reexec, "INTERPRETER", str(interpreter))
    view = reexec.view()
    try:
        assert write_through(view) == errno.EROFS
        assert os.access(interpreter, os.W_OK)
    finally:
        os.close(view)


def test_without_detached_mounts_it_is_sealed_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def old_kernel(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSYS, "open_tree: Function not implemented")

    interpreter = tmp_path / "interpreter"
    shutil.copy("/bin/true", interpreter)
    monkeypatch.setattr(reexec, "INTERPRETER", str(interpreter))
    monkeypatch.setattr(reexec, "call", old_kernel)
    view = reexec.view()
    try:
        with pytest.raises(PermissionError):
            os.write(view, b"#")
        monkeypatch.setattr(reexec, "INTERPRETER", f"/proc/self/fd/{view}")
        assert reexec.protected()
        assert subprocess.run([f"/proc/self/fd/{view}"], pass_fds=[view], check=False).returncode == 0
    finally:
        os.close(view)


def test_it_tries_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reexec, "protected", lambda: False)
    monkeypatch.setitem(sys._xoptions, reexec.MARK, True)
    with pytest.raises(OSError, match="still writable"):
        reexec.through_readonly_interpreter(("probe",))
