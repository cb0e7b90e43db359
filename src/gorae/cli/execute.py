"""`exec` and `attach`: joining what runs already."""

from __future__ import annotations

import click

from gorae.cli import flags
from gorae.cli.connect import engine as connect
from gorae.cli.run import detached, exit_status, refuse_non_terminal, result
from gorae.cli.streams import Pump, forward_to
from gorae.errors import Conflict, GoraeError


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("-d", "--detach", is_flag=True, help="Do not wait for it.")
@click.option("-i", "--interactive", is_flag=True, help="Pass stdin on.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set an environment variable.")
@click.option("--env-file", multiple=True, metavar="FILE", help="Read environment variables from a file.")
@click.option("-w", "--workdir", default="", metavar="PATH", help="Working directory inside.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="User by name or number.")
@click.option("--privileged", is_flag=True, help="All capabilities that the daemon has.")
@click.option("--detach-keys", default="", metavar="KEYS", help="What detaches from it (ctrl-p,ctrl-q).")
@click.argument("container")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec_(
    context: click.Context,
    container: str,
    command: tuple[str, ...],
    detach: bool,
    interactive: bool,
    tty: bool,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    workdir: str,
    user: str,
    privileged: bool,
    detach_keys: str,
) -> int:
    """Run a command in a running container."""
    stdin = interactive and not detach
    refuse_non_terminal(tty and stdin)
    engine = connect(context)
    config = {
        "Cmd": list(command),
        "Env": flags.environment(env, env_file),
        "User": user,
        "WorkingDir": workdir,
        "Privileged": privileged,
        "Tty": tty,
        "AttachStdin": stdin,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "DetachKeys": detach_keys,
    }
    identity = engine.exec_create(container, config)
    try:
        if detach:
            engine.exec_detach(identity)
            return 0
        Pump(engine, f"/exec/{identity}", tty, stdin).run(engine.exec_start(identity, tty=tty))
    except GoraeError as error:
        status = exit_status(str(error))
        if status == 125:
            raise
        print(error)
        return status
    described = engine.exec_inspect(identity)
    return 0 if described["Running"] else int(described["ExitCode"] or 0)


@click.command()
@click.option("--no-stdin", is_flag=True, help="Do not join stdin.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on to it (default).")
@click.option("--detach-keys", default="", metavar="KEYS", help="What detaches from it (ctrl-p,ctrl-q).")
@click.argument("container")
@click.pass_context
def attach(context: click.Context, container: str, no_stdin: bool, sig_proxy: bool, detach_keys: str) -> int:
    """Join the streams of a running container."""
    engine = connect(context)
    described = engine.inspect(container)
    identity, state = described["Id"], described["State"]
    if not state["Running"]:
        raise Conflict("you cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise Conflict("you cannot attach to a paused container, unpause it first")
    tty = described["Config"]["Tty"]
    stdin = described["Config"]["OpenStdin"] and not no_stdin
    refuse_non_terminal(tty and stdin)
    query = {"stream": True, "stdin": stdin, "stdout": True, "stderr": True, "detachKeys": detach_keys or None}
    ended = engine.wait(identity)
    signalled = forward_to(engine, identity) if sig_proxy and not tty else None
    Pump(engine, f"/containers/{identity}", tty, stdin, signalled).run(engine.attach(identity, query))
    return 0 if detached(engine, identity, ended) else result(ended)
