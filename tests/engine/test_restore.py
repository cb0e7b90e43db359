"""What outlives an engine, a supervisor, and kill -9 at every step of a container's life."""

# ruff: noqa: ASYNC240 (the test's own files)

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from tests.engine.home import PATIENCE, Home, drain, logged, run, started, unframed, until, wish

from gorae import errors
from gorae.engine.container.model import AttachRequest, ExecConfig, RestartPolicy
from gorae.engine.engine import Engine

pytestmark = pytest.mark.kernel

VICTIM = Path(__file__).with_name("victim.py")
ROOT = VICTIM.parents[2]


async def test_containers_run_on_and_their_ends_are_found(home: Home) -> None:
    engine = await home.open()
    runs = await started(engine, wish("sh", "-c", "while [ ! -e /tmp/stop ]; do sleep 0.01; done; echo late; exit 4"), name="runs")
    ends = await started(engine, wish("sh", "-c", "echo early; exit 6"), name="ends")
    gone = await started(engine, wish("sh", "-c", "exit 1", auto_remove=True))
    await home.close()
    engine = await home.open()
    state = engine.containers.inspect(runs).state
    assert state.running
    assert os.path.exists(f"/proc/{state.pid}")
    result = await asyncio.wait_for(engine.containers.wait("ends").result(), PATIENCE)
    assert (result.exit_code, await logged(engine, ends)) == (6, b"early\n")
    await until(lambda: gone not in [each.id for each in engine._entries], "--rm after the restart")
    attachment = await engine.containers.attach(runs, AttachRequest(stdout=True, stderr=True))
    exec_id = await engine.containers.exec_create(runs, ExecConfig(command=("touch", "/tmp/stop")))
    await engine.containers.exec_start(exec_id, detach=True)
    assert unframed(await drain(attachment))[1] == b"late\n"
    assert (await engine.containers.wait(runs).result()).exit_code == 4


async def test_paused_and_created_stay_what_they_are(home: Home) -> None:
    engine = await home.open()
    paused = await started(engine, wish("sleep", "1000", init=True))
    await engine.containers.pause(paused)
    created = await engine.containers.create(wish("true", labels={"a": "b"}), name="created")
    before = {each.id: each for each in await engine.containers.list(all=True)}
    await home.close()
    engine = await home.open()
    assert {each.id: each for each in await engine.containers.list(all=True)} == before
    assert engine.containers.inspect(paused).state.status == "paused"
    await engine.containers.unpause(paused)
    await engine.containers.start(created.id)
    assert (await asyncio.wait_for(engine.containers.wait(created.id).result(), PATIENCE)).exit_code == 0


async def test_restart_policies_when_the_engine_opens(home: Home) -> None:
    engine = await home.open()
    always = await started(engine, wish("sleep", "1000", init=True, restart_policy=RestartPolicy(name="always")))
    unless = await started(engine, wish("sleep", "1000", init=True, restart_policy=RestartPolicy(name="unless-stopped")))
    await engine.containers.stop(always)
    await engine.containers.stop(unless)
    await home.close()
    engine = await home.open()
    await until(lambda: engine.containers.inspect(always).state.running, "always runs again")
    assert engine.containers.inspect(unless).state.status == "exited"


async def test_what_has_no_row_is_swept(home: Home) -> None:
    engine = await home.open()
    stray = await started(engine, wish("sleep", "1000"))
    identity, pid = engine.containers.inspect(stray).id, engine.containers.inspect(stray).state.pid
    await engine._life._records.delete(identity)
    await home.close()
    for directory in (home.config.data_root, home.config.exec_root):
        (directory / "containers" / ("d" * 64)).mkdir()
    engine = await home.open()
    await until(lambda: not os.path.exists(f"/proc/{pid}"), "the stray process ends")
    for directory in (home.config.data_root, home.config.exec_root):
        await until(lambda directory=directory: not os.listdir(directory / "containers"), "directories are swept")
    assert await engine.containers.list(all=True) == []


async def test_a_lost_end_is_said_to_be_lost(home: Home) -> None:
    engine = await home.open()
    identity = await started(engine, wish("sleep", "1000"))
    await home.close()
    pid = home.supervisor_pid()
    os.kill(pid, signal.SIGKILL)
    home.kill_all()
    await until(lambda: not home.is_ours(pid), "the supervisor is gone")
    shutil.rmtree(home.config.exec_root)  # as after a reboot
    engine = await home.open()
    state = engine.containers.inspect(identity).state
    assert (state.status, state.exit_code) == ("exited", 255)
    assert "was not seen" in state.error
    await engine.containers.start(identity)


async def test_an_end_that_the_disk_refuses_is_told_and_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await home.open()
    identity = await started(engine, wish("sleep", "1000"), name="one")

    async def full(*_: object) -> None:
        raise errors.StorageFull("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(engine._life._records, "update", full)
        await asyncio.wait_for(engine.containers.stop("one", timeout=0), PATIENCE)
        state = engine.containers.inspect("one").state
        assert (state.status, state.exit_code) == ("exited", 137)
        with pytest.raises(errors.StorageFull):
            await engine.containers.start("one")
        await home.close()
    engine = await home.open()
    state = engine.containers.inspect(identity).state
    assert (state.status, state.exit_code) == ("exited", 137)
    await engine.containers.start("one")
    with monkeypatch.context() as patch:
        patch.setattr(engine._life._records, "update", full)
        await engine.containers.kill("one")
    await engine.containers.start("one")
    assert engine.containers.inspect("one").state.running


async def test_a_supervisor_dies_after_the_engine_was_restarted(home: Home) -> None:
    engine = await home.open()
    identity = await started(engine, wish("sh", "-c", "while [ ! -e /tmp/stop ]; do sleep 0.01; done; exit 12"))
    pid = engine.containers.inspect(identity).state.pid
    await home.close()
    engine = await home.open()
    old = home.supervisor_pid()
    os.kill(old, signal.SIGKILL)
    await until(lambda: home.supervisor_pid() not in (0, old), "a new supervisor")
    exec_id = await engine.containers.exec_create(identity, ExecConfig(command=("touch", "/tmp/stop")))
    await engine.containers.exec_start(exec_id, detach=True)
    assert engine.containers.inspect(identity).state.pid in (pid, 0)
    assert (await asyncio.wait_for(engine.containers.wait(identity).result(), PATIENCE)).exit_code == 12


async def test_a_dead_supervisor_is_replaced(home: Home) -> None:
    engine = await home.open()
    script = "i=0; while [ ! -e /tmp/stop ]; do echo $i; i=$((i+1)); sleep 0.002; done; exit 8"
    identity = await started(engine, wish("sh", "-c", script))
    pid, old = engine.containers.inspect(identity).state.pid, home.supervisor_pid()
    await until(lambda: logged(engine, identity), "output")
    os.kill(old, signal.SIGKILL)
    await until(lambda: home.supervisor_pid() not in (0, old), "a new supervisor")
    assert (await run(engine, wish("true")))[1] == 0
    assert engine.containers.inspect(identity).state.pid == pid
    assert os.path.exists(f"/proc/{pid}")
    exec_id = await engine.containers.exec_create(identity, ExecConfig(command=("touch", "/tmp/stop")))
    await engine.containers.exec_start(exec_id, detach=True)
    assert (await asyncio.wait_for(engine.containers.wait(identity).result(), PATIENCE)).exit_code == 8
    lines = (await logged(engine, identity)).split()
    assert lines == [str(number).encode() for number in range(len(lines))]


async def test_a_supervisor_and_its_containers_die_together(home: Home) -> None:
    engine = await home.open()
    identity = await started(engine, wish("sleep", "1000"))
    waiting = engine.containers.wait(identity)
    os.kill(home.supervisor_pid(), signal.SIGKILL)
    os.kill(engine.containers.inspect(identity).state.pid, signal.SIGKILL)
    assert (await asyncio.wait_for(waiting.result(), PATIENCE)).exit_code in (137, 255)
    assert (await run(engine, wish("true")))[1] == 0


async def test_an_engine_outlives_a_kill_at_every_step(home: Home) -> None:
    await home.open()
    await home.close()
    total = int((await victim(home, 0))[-1].removeprefix("steps "))
    assert total > 15
    for step in range(1, total + 1):
        said = await victim(home, step)
        engine = await home.open()
        try:
            await check_after(engine, said)
        except BaseException as failure:
            failure.add_note(f"killed at step {step} of {total}, having said {said}")
            raise
        await home.close()


async def victim(home: Home, step: int) -> list[str]:
    """What it said before it died (or ended, with step 0)."""
    words = (str(home.config.data_root), str(home.config.exec_root), home.config.cgroup_parent, str(step))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(VICTIM), *words), stdout=asyncio.subprocess.PIPE, cwd=ROOT, env={"PATH": os.environ["PATH"]}
    )
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == (0 if step == 0 else -signal.SIGKILL), output
    return output.decode().splitlines()


async def check_after(engine: Engine, said: list[str]) -> None:
    """Nothing acknowledged is lost, no exit code is wrong, and it can be removed (the census is the fixture's)."""
    try:
        container = engine.containers.inspect("victim")
    except errors.NotFound:
        assert "created" not in said or "ended" in said
        return
    if container.state.running:
        await asyncio.wait_for(engine.containers.wait("victim").result(), PATIENCE)
        container = engine.containers.inspect("victim")
    if "started" in said or container.state.status == "exited":
        assert (container.state.status, container.state.exit_code) == ("exited", 3)
        assert await logged(engine, "victim") == b"said\n"
    else:
        assert container.state.status == "created"
        await engine.containers.start("victim")
        assert (await asyncio.wait_for(engine.containers.wait("victim").result(), PATIENCE)).exit_code == 3
    await engine.containers.remove("victim")
