"""Containers for real, on the image `host`: their life, streams, execs, logs, and what is refused."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.engine.home import PATIENCE, Home, drain, logged, run, started, unframed, until, wish

from gorae import errors
from gorae.engine.container.model import AttachRequest, ExecConfig, LogConfig, LogRequest, Mount, Resources, RestartPolicy
from gorae.engine.engine import Engine

pytestmark = pytest.mark.kernel


async def test_a_program_runs_and_its_end_is_told(engine: Engine) -> None:
    events = engine.events.subscribe()
    identity, code, out, err = await run(engine, wish("sh", "-c", "echo out; echo err >&2; exit 3"), name="first")
    assert (code, out, err) == (3, b"out\n", b"err\n")
    container = engine.containers.inspect("first")
    assert (container.state.status, container.state.exit_code, container.state.pid) == ("exited", 3, 0)
    assert container.state.finished_at > container.state.started_at > container.created_at
    assert await logged(engine, identity) == b"out\nerr\n"
    assert await logged(engine, identity, stdout=False) == b"err\n"
    assert (await engine.containers.wait(identity).result()).exit_code == 3
    await engine.containers.remove(identity)
    with pytest.raises(errors.NotFound, match=f"No such container: {identity}"):
        engine.containers.inspect(identity)
    events.end()
    seen = [(event.action, event.attributes.get("exitCode")) async for event in events if event.type == "container"]
    assert seen == [("create", None), ("attach", None), ("start", None), ("die", "3"), ("destroy", None)]


async def test_it_can_be_started_again(engine: Engine) -> None:
    identity, *_ = await run(engine, wish("sh", "-c", "echo once"))
    waiting = engine.containers.wait(identity, "next-exit")
    await engine.containers.start(identity)
    assert (await waiting.result()).exit_code == 0
    assert await logged(engine, identity) == b"once\nonce\n"


async def test_standard_input_reaches_the_program_and_ends(engine: Engine) -> None:
    created = await engine.containers.create(wish("cat", open_stdin=True, stdin_once=True, attach_stdin=True))
    attachment = await engine.containers.attach(created.id, AttachRequest(stdin=True, stdout=True, stderr=True))
    await engine.containers.start(created.id)
    assert attachment.socket is not None
    await asyncio.get_running_loop().sock_sendall(attachment.socket, b"hi\n")
    attachment.socket.shutdown(1)
    assert unframed(await drain(attachment))[1] == b"hi\n"
    assert (await engine.containers.wait(created.id).result()).exit_code == 0


async def test_a_terminal(engine: Engine) -> None:
    config = wish("sh", "-c", "tty; stty size; test -t 1", tty=True, open_stdin=True, console_size=(33, 99))
    _, code, out, _ = await run(engine, config)
    assert (code, out) == (0, b"/dev/pts/0\r\n33 99\r\n")


async def test_rm_waits_for_the_removal(engine: Engine) -> None:
    identity, code, out, _ = await run(engine, wish("sh", "-c", "echo x; exit 5", auto_remove=True))
    assert (code, out) == (5, b"x\n")
    with pytest.raises(errors.NotFound):
        engine.containers.inspect(identity)


@pytest.mark.parametrize(
    ("command", "kind", "code", "words"),
    [
        ("nosuchprogram", errors.CommandNotFound, 127, "executable file not found in \\$PATH"),
        ("/no/such", errors.CommandNotFound, 127, "no such file or directory"),
        ("/etc/hostname", errors.CommandNotExecutable, 126, "permission denied"),
    ],
)
async def test_a_program_that_cannot_run(engine: Engine, command: str, kind: type[Exception], code: int, words: str) -> None:
    created = await engine.containers.create(wish(command))
    attachment = await engine.containers.attach(created.id, AttachRequest(stdout=True))
    with pytest.raises(kind, match=words):
        await engine.containers.start(created.id)
    assert await drain(attachment) == b""
    state = engine.containers.inspect(created.id).state
    assert (state.status, state.exit_code) == ("created", code)
    assert command in state.error
    rm = await engine.containers.create(wish(command, auto_remove=True))
    with pytest.raises(kind):
        await engine.containers.start(rm.id)
    with pytest.raises(errors.NotFound):
        engine.containers.inspect(rm.id)


async def test_exec(engine: Engine) -> None:
    identity = await started(engine, wish("sleep", "1000", init=True, environment=("A=1",), working_directory="/tmp"))
    config = ExecConfig(
        command=("sh", "-c", "echo $A $B; pwd; cat; exit 7"), environment=("B=2",), attach_stdin=True, attach_stdout=True
    )
    exec_id = await engine.containers.exec_create(identity, config)
    attachment = await engine.containers.exec_start(exec_id)
    assert attachment is not None
    assert attachment.socket is not None
    await asyncio.get_running_loop().sock_sendall(attachment.socket, b"in")
    assert engine.containers.inspect(identity).exec_ids == (exec_id,)
    attachment.socket.shutdown(1)
    assert unframed(await drain(attachment))[1] == b"1 2\n/tmp\nin"
    ended = await until(lambda: engine.containers.exec_inspect(exec_id).exit_code is not None, "exec ends")
    assert ended
    assert engine.containers.exec_inspect(exec_id).exit_code == 7
    with pytest.raises(errors.Conflict, match="has already run"):
        await engine.containers.exec_start(exec_id)


async def test_exec_that_cannot_be(engine: Engine) -> None:
    identity = await started(engine, wish("sleep", "1000", init=True))
    exec_id = await engine.containers.exec_create(identity, ExecConfig(command=("nosuch",), attach_stdout=True))
    with pytest.raises(errors.CommandNotFound):
        await engine.containers.exec_start(exec_id)
    assert engine.containers.exec_inspect(exec_id).exit_code == 127
    with pytest.raises(errors.NotFound, match="No such exec instance: nope"):
        engine.containers.exec_inspect("nope")
    await engine.containers.kill(identity)
    with pytest.raises(errors.Conflict, match=f"container {identity} is not running"):
        await engine.containers.exec_create(identity, ExecConfig(command=("true",)))


async def test_a_detached_exec_and_a_terminal(engine: Engine) -> None:
    identity = await started(engine, wish("sleep", "1000", init=True))
    exec_id = await engine.containers.exec_create(identity, ExecConfig(command=("sh", "-c", "echo done > /tmp/x")))
    assert await engine.containers.exec_start(exec_id, detach=True) is None
    await until(lambda: engine.containers.exec_inspect(exec_id).exit_code == 0, "exec ends")
    with_tty = ExecConfig(command=("sh", "-c", "cat /tmp/x; stty size"), tty=True, attach_stdout=True, console_size=(10, 20))
    exec_id = await engine.containers.exec_create(identity, with_tty)
    attachment = await engine.containers.exec_start(exec_id)
    assert attachment is not None
    assert await drain(attachment) == b"done\r\n10 20\r\n"


async def test_stop_kill_and_remove(engine: Engine) -> None:
    trap = wish("sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done", stop_timeout=20)
    identity = await started(engine, trap)
    await until(lambda: logged(engine, identity), "ready")
    with pytest.raises(errors.NotModified):
        await engine.containers.start(identity)
    with pytest.raises(errors.Conflict, match="You cannot remove a running container"):
        await engine.containers.remove(identity)
    await engine.containers.stop(identity)
    assert engine.containers.inspect(identity).state.exit_code == 9
    with pytest.raises(errors.NotModified):
        await engine.containers.stop(identity)
    with pytest.raises(errors.Conflict, match=f"cannot kill container: {identity}: container {identity} is not running"):
        await engine.containers.kill(identity)
    deaf = await started(engine, wish("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"))
    await until(lambda: logged(engine, deaf), "ready")
    await engine.containers.stop(deaf, timeout=0)
    assert engine.containers.inspect(deaf).state.exit_code == 137
    await engine.containers.start(deaf)
    await engine.containers.remove(deaf, force=True)
    with pytest.raises(errors.InvalidArgument, match="invalid signal"):
        await engine.containers.kill(identity, signal="SIGNOPE")


async def test_pause_rename_restart(engine: Engine) -> None:
    identity = await started(engine, wish("sleep", "1000", init=True), name="one")
    pid = engine.containers.inspect(identity).state.pid
    await engine.containers.pause("one")
    assert engine.containers.inspect("one").state.status == "paused"
    with pytest.raises(errors.Conflict, match="is already paused"):
        await engine.containers.pause("one")
    with pytest.raises(errors.Conflict, match="is paused, unpause the container before exec"):
        await engine.containers.exec_create("one", ExecConfig(command=("true",)))
    with pytest.raises(errors.Conflict, match="try unpause instead"):
        await engine.containers.start("one")
    await engine.containers.unpause("one")
    with pytest.raises(errors.Conflict, match="is not paused"):
        await engine.containers.unpause("one")
    await engine.containers.rename("one", "two")
    assert engine.containers.inspect("two").id == identity
    with pytest.raises(errors.NotFound):
        engine.containers.inspect("one")
    await engine.containers.restart("two", timeout=0)
    assert engine.containers.inspect("two").state.pid not in (0, pid)
    await engine.containers.pause("two")
    await engine.containers.remove("two", force=True)


async def test_names_clash(engine: Engine) -> None:
    created = await engine.containers.create(wish("true"), name="mine")
    with pytest.raises(
        errors.Conflict, match=f'^Conflict. The container name "/mine" is already in use by container "{created.id}"'
    ):
        await engine.containers.create(wish("true"), name="/mine")
    with pytest.raises(errors.NotFound, match="No such image: nosuch"):
        await engine.containers.create(wish("true", image="nosuch"), name="other")
    again = await engine.containers.create(wish("true"), name="other")
    with pytest.raises(errors.Conflict):
        await engine.containers.rename(again.id, "mine")
    assert {container.name for container in await engine.containers.list(all=True)} == {"mine", "other"}
    assert await engine.containers.list() == []


async def test_logs_are_followed_to_the_end(engine: Engine) -> None:
    identity = await started(engine, wish("sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.05; done; printf end"))
    assert await asyncio.wait_for(logged(engine, identity, follow=True), PATIENCE) == b"1\n2\n3\n4\n5\nend"
    assert await logged(engine, identity, tail=2) == b"5\nend"
    mute = await started(engine, wish("true", log=LogConfig(driver="none")))
    with pytest.raises(errors.Unsupported, match="does not support reading"):
        engine.containers.logs(mute, LogRequest())


async def test_attach_replays_the_log_without_a_gap(engine: Engine) -> None:
    identity = await started(
        engine, wish("sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; sleep 0.2; echo last")
    )
    await until(lambda: logged(engine, identity), "some output")
    attachment = await engine.containers.attach(identity, AttachRequest(stdout=True, logs=True))
    assert attachment.replay is not None
    before = b"".join([block.data async for blocks in attachment.replay for block in blocks])
    after = unframed(await drain(attachment))[1]
    assert before
    assert (before + after).split() == [*(str(number).encode() for number in range(3000)), b"last"]


async def test_files_binds_and_tmpfs(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "made" / "by-v"
    readable = tmp_path / "there"
    readable.mkdir()
    (readable / "file").write_text("seen\n")
    script = (
        "cat /etc/hostname; grep -c localhost /etc/hosts; echo x > /v/out; cat /m/file; touch /m/no 2>/dev/null || echo ro;"
        "echo y > /t/y && stat -fc %T /t"
    )
    config = wish(
        *("sh", "-c", script),
        hostname="box",
        binds=(f"{source}:/v",),
        mounts=(Mount(type="bind", source=str(readable), target="/m", read_only=True),),
        tmpfs={"/t": "size=1m"},
        extra_hosts=("db:10.0.0.1",),
    )
    _, code, out, err = await run(engine, config)
    assert (code, out.split(), err) == (0, [b"box", b"2", b"seen", b"ro", b"tmpfs"], b"")
    assert (source / "out").read_text() == "x\n"
    with pytest.raises(errors.InvalidArgument, match="bind source path does not exist"):
        await engine.containers.create(wish("true", mounts=(Mount(type="bind", source=str(tmp_path / "no"), target="/m"),)))
    assert not (tmp_path / "no").exists()


async def test_what_it_may_is_dockers_default(engine: Engine) -> None:
    _, _, out, _ = await run(engine, wish("sh", "-c", "cat /proc/self/status; cat /proc/self/cgroup; cat /proc/1/oom_score_adj"))
    status = dict(line.split(":\t", 1) for line in out.decode().splitlines() if ":\t" in line)
    assert status["CapBnd"] == status["CapEff"] == status["CapPrm"] == "00000000a80425fb"
    assert status["CapInh"] == status["CapAmb"] == "0000000000000000"
    assert status["Seccomp"].strip() == "2"
    assert b"gorae-test" not in out
    _, _, out, _ = await run(engine, wish("sh", "-c", "grep -E 'Cap(Eff|Prm)|^Uid|^Groups' /proc/self/status", user="1000:1000"))
    assert b"CapEff:\t0000000000000000" in out
    assert b"CapPrm:\t0000000000000000" in out
    assert b"1000\t1000\t1000\t1000" in out
    assert b"Groups:\t1000" in out
    config = wish(
        "sh", "-c", "id -G; cat /sys/fs/cgroup/pids/pids.max", group_add=("audio", "4242"), resources=Resources(pids_limit=77)
    )
    _, _, out, _ = await run(engine, config)
    assert out.split()[-1] == b"77"
    assert {b"29", b"4242"} <= set(out.split())


async def test_namespaces_are_shared(engine: Engine) -> None:
    one = await started(engine, wish("sleep", "1000", init=True, hostname="one"), name="one")
    pid = engine.containers.inspect(one).state.pid
    expected = os.readlink(f"/proc/{pid}/ns/net"), os.readlink(f"/proc/{pid}/ns/pid")
    joined = wish(
        "sh",
        "-c",
        "readlink /proc/self/ns/net /proc/self/ns/pid; cat /etc/hostname",
        network_mode="container:one",
        pid_mode="container:one",
    )
    identity, _, out, _ = await run(engine, joined)
    assert tuple(out.decode().split()) == (*expected, "one")
    await engine.containers.stop("one", timeout=0)
    with pytest.raises(errors.Conflict, match="non running container"):
        await engine.containers.start(identity)
    host = wish("readlink", "/proc/self/ns/net", network_mode="host")
    assert (await run(engine, host))[2].decode().strip() == os.readlink("/proc/self/ns/net")
    with pytest.raises(errors.NotFound, match="No such container: nobody"):
        await engine.containers.create(wish("true", network_mode="container:nobody"))


async def test_a_restart_policy_counts_and_stop_wins(engine: Engine) -> None:
    config = wish("sh", "-c", "exit 1", restart_policy=RestartPolicy(name="on-failure", maximum_retry_count=2))
    identity = await started(engine, config)
    result = await asyncio.wait_for(engine.containers.wait(identity).result(), PATIENCE)
    assert result.exit_code == 1
    container = engine.containers.inspect(identity)
    assert (container.state.status, container.restart_count) == ("exited", 2)
    forever = await started(engine, wish("false", restart_policy=RestartPolicy(name="always")))
    await until(lambda: engine.containers.inspect(forever).state.status == "restarting", "restarting")
    await engine.containers.stop(forever)
    assert engine.containers.inspect(forever).state.status == "exited"
    sleeper = await started(engine, wish("sleep", "1000", restart_policy=RestartPolicy(name="always")))
    await engine.containers.kill(sleeper)
    assert engine.containers.inspect(sleeper).state.status == "exited"


async def test_clients_that_hang_up_leave_nothing_half_done(engine: Engine) -> None:
    for turns in range(12):
        task = asyncio.create_task(engine.containers.create(wish("sleep", "1000"), name=f"c{turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    created = await engine.containers.create(wish("sleep", "1000"), name="started")
    task = asyncio.create_task(engine.containers.start(created.id))
    await asyncio.sleep(0)
    task.cancel()
    await until(lambda: engine.containers.inspect("started").state.running, "the start goes on")
    await asyncio.wait_for(engine.containers.remove("started", force=True), PATIENCE)


async def test_looking_does_not_wait_and_force_ends_a_start(engine: Engine) -> None:
    created = await engine.containers.create(wish("sleep", "1000"))
    start = asyncio.create_task(engine.containers.start(created.id))
    await asyncio.sleep(0)
    assert engine.containers.inspect(created.id).state.status == "created"
    assert len(await engine.containers.list(all=True)) == 1
    await asyncio.wait_for(engine.containers.remove(created.id, force=True), PATIENCE)
    await asyncio.gather(start, return_exceptions=True)
    assert await engine.containers.list(all=True) == []


async def test_waiting_for_what_is_removed(engine: Engine) -> None:
    created = await engine.containers.create(wish("true"))
    waiting = engine.containers.wait(created.id, "removed")
    attachment = await engine.containers.attach(created.id, AttachRequest(stdout=True))
    await engine.containers.remove(created.id)
    assert (await asyncio.wait_for(waiting.result(), PATIENCE)).exit_code == 0
    assert await drain(attachment) == b""


async def test_prune_top_sizes_and_info(engine: Engine) -> None:
    running = await started(engine, wish("sleep", "1000", init=True, labels={"keep": "1"}))
    assert len(await engine.containers.top(running)) == 2
    ended, *_ = await run(engine, wish("sh", "-c", "head -c 100000 /dev/zero > /var/tmp/file"))
    sized = await engine.containers.sizes(engine.containers.inspect(ended))
    assert sized.size_rw is not None
    assert sized.size_rw >= 100000
    info = await engine.system.info()
    assert (info.containers, info.containers_running, info.containers_stopped) == (2, 1, 1)
    assert (await engine.containers.prune({"label": ("keep",)}))[0] == []
    removed, freed = await engine.containers.prune()
    assert removed == [ended]
    assert freed >= 100000
    assert engine.system.version().version


async def test_the_birth_is_explained(engine: Engine) -> None:
    created = await engine.containers.create(wish("true"))
    with pytest.raises(errors.NotFound):
        engine.containers.birth(created.id)
    await engine.containers.start(created.id, explain=True)
    steps = engine.containers.birth(created.id)
    assert len(steps) > 20
    assert all(step["reason"] for step in steps)


async def test_a_second_engine_is_refused(home: Home, engine: Engine) -> None:
    with pytest.raises(errors.Conflict, match="another daemon uses the data root"):
        await Engine.open(home.config)
    assert (await run(engine, wish("true")))[1] == 0


async def test_a_terminal_is_resized(engine: Engine) -> None:
    script = "trap 'stty size' WINCH; echo ready; while [ ! -e /tmp/stop ]; do sleep 0.01; done"
    identity = await started(engine, wish("sh", "-c", script, tty=True, open_stdin=True))
    await until(lambda: logged(engine, identity), "ready")
    await engine.containers.resize(identity, 20, 50)
    assert await until(lambda: after_ready(engine, identity), "the new size") == b"20 50\r\n"
    exec_id = await engine.containers.exec_create(
        identity, ExecConfig(command=("sh", "-c", "read x; stty size"), tty=True, attach_stdin=True, attach_stdout=True)
    )
    attachment = await engine.containers.exec_start(exec_id)
    assert attachment is not None
    assert attachment.socket is not None
    await engine.containers.exec_resize(exec_id, 11, 22)
    await asyncio.get_running_loop().sock_sendall(attachment.socket, b"\n")
    assert (await drain(attachment)).endswith(b"11 22\r\n")
    with pytest.raises(errors.InvalidArgument):
        await engine.containers.resize(identity, -1, 5)
    await engine.containers.kill(identity)
    with pytest.raises(errors.Conflict, match="is not running"):
        await engine.containers.resize(identity, 1, 1)


async def after_ready(engine: Engine, identity: str) -> bytes:
    return (await logged(engine, identity)).removeprefix(b"ready\r\n")
