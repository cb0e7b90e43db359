"""`gorae run`, told in order: create, join its streams, ask for its end, start, pump, exit as it did. Also `create` and `start`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from gorae.cli import container_config
from gorae.cli.connect import engine as connect
from gorae.cli.container_options import container_options
from gorae.cli.streams import Pump, forward_to
from gorae.client.engine import Engine
from gorae.client.http import Response
from gorae.errors import GoraeError, InvalidArgument, NotFound

NOT_FOUND_WORDS = ("executable file not found", "no such file or directory", "system cannot find the file specified")
NOT_EXECUTABLE_WORDS = ("permission denied", "is a directory")


pull_option = click.option(
    "--pull", type=click.Choice(["always", "missing", "never"]), default="missing", help="When to fetch the image (missing)."
)


class ContainerCommand(click.Command):
    """Flags end at the image's name, as with Docker; `--explain` may have a value, but takes none of the words behind it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.allow_interspersed_args = False

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        original = list(args)
        rest = super().parse_args(
            context, [f"--explain-as={word[10:]}" if word.startswith("--explain=") else word for word in args]
        )
        command = context.params.get("command", ())
        context.params["command"] = tuple(original[len(original) - len(command) :])
        return rest


@click.command(cls=ContainerCommand)
@click.option("-d", "--detach", is_flag=True, help="Leave it running and print its id.")
@click.option("--rm", is_flag=True, help="Remove it when it has ended.")
@click.option("--explain", is_flag=True, help="Print each step of its birth; --explain=json as data.")
@click.option("--explain-as", type=click.Choice(["text", "json"]), hidden=True)
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on to it (default).")
@click.option("--detach-keys", default="", metavar="KEYS", help="What detaches from it (ctrl-p,ctrl-q).")
@pull_option
@container_options
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(context: click.Context, /, image: str, command: tuple[str, ...], detach: bool, sig_proxy: bool, **options: Any) -> int:
    """Create and start a container: gorae run [FLAGS] IMAGE [COMMAND …]"""
    chosen = container_config.streams(options, detach)
    refuse_non_terminal(options["tty"] and "stdin" in chosen)
    engine = connect(context)
    body = container_config.body(options, image, command) | attached(chosen)
    explain = options["explain_as"] or ("text" if options["explain"] else "")

    identity = create_container(engine, body, options)
    if detach:
        start_container(engine, identity, bool(explain))
        explain_birth(engine, identity, explain)
        print(identity)
        return 0
    stream = join_streams(engine, identity, chosen, options["detach_keys"]) if chosen else None
    ended = engine.wait(identity, "removed" if options["rm"] else "next-exit")
    try:
        start_container(engine, identity, bool(explain))
    except GoraeError as error:
        if options["rm"]:
            remove_quietly(engine, identity)
        print(f"gorae: {error}", file=sys.stderr)
        return exit_status(str(error))
    explain_birth(engine, identity, explain)
    if stream is not None:
        proxied = sig_proxy and not options["tty"]
        signalled = forward_to(engine, identity) if proxied else None
        Pump(engine, f"/containers/{identity}", options["tty"], "stdin" in chosen, signalled).run(stream)
        if detached(engine, identity, ended):
            return 0
    return result(ended)


@click.command(cls=ContainerCommand)
@click.option("--rm", is_flag=True, help="Remove it when it has ended.")
@pull_option
@container_options
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def create(context: click.Context, /, image: str, command: tuple[str, ...], **options: Any) -> None:
    """Create a container and print its id; `gorae start` starts it."""
    chosen = container_config.streams(options, False)
    body = container_config.body(options, image, command) | attached(chosen)
    print(create_container(connect(context), body, options))


@click.command()
@click.option("-a", "--attach", is_flag=True, help="Join its stdout and stderr, and exit as it does.")
@click.option("-i", "--interactive", is_flag=True, help="Join its stdin.")
@click.option("--detach-keys", default="", metavar="KEYS", help="What detaches from it (ctrl-p,ctrl-q).")
@click.argument("containers", nargs=-1, required=True)
@click.pass_context
def start(context: click.Context, attach: bool, interactive: bool, detach_keys: str, containers: tuple[str, ...]) -> int:
    """Start containers."""
    engine = connect(context)
    if not attach and not interactive:
        from gorae.cli.lifecycle import each

        return each(containers, lambda name: engine.act(name, "start"))
    if len(containers) > 1:
        raise InvalidArgument("you cannot start and attach multiple containers at once")
    described = engine.inspect(containers[0])
    identity, tty = described["Id"], described["Config"]["Tty"]
    stdin = interactive and described["Config"]["OpenStdin"]
    chosen = {"stdout", "stderr"} | ({"stdin"} if stdin else set())
    stream = join_streams(engine, identity, chosen, detach_keys)
    ended = engine.wait(identity, "removed" if described["HostConfig"]["AutoRemove"] else "next-exit")
    engine.start(identity)
    Pump(engine, f"/containers/{identity}", tty, stdin, None if tty else forward_to(engine, identity)).run(stream)
    return 0 if detached(engine, identity, ended) else result(ended)


def attached(chosen: set[str]) -> dict[str, bool]:
    stdin = "stdin" in chosen
    return {"AttachStdin": stdin, "AttachStdout": "stdout" in chosen, "AttachStderr": "stderr" in chosen, "StdinOnce": stdin}


def refuse_non_terminal(needed: bool) -> None:
    if needed and not os.isatty(0):
        raise InvalidArgument("the input device is not a TTY: leave out -t, or run it in a terminal")


def create_container(engine: Engine, body: dict[str, Any], options: dict[str, Any]) -> str:
    """Its id; the engine's warnings go to stderr."""
    path = options["cidfile"]
    if path and os.path.exists(path):
        raise InvalidArgument(f"container ID file found, make sure the other container isn't running or delete {path}")
    created = create_from(engine, body, options)
    for warning in created.get("Warnings") or []:
        print(f"WARNING: {warning}", file=sys.stderr)
    if path:
        with open(path, "x", encoding="ascii") as file:
            file.write(created["Id"])
    identity: str = created["Id"]
    return identity


def create_from(engine: Engine, body: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """With what `--pull` says of the image: an image that is here costs no question."""
    policy, image = options.get("pull", "missing"), body["Image"]
    if policy == "always":
        from gorae.cli.registries import obtain

        obtain(engine, image, options["platform"], missing=False)
    try:
        return engine.create(body, options["name"], options["platform"])
    except NotFound as error:
        if policy != "missing" or not str(error).lower().startswith("no such image"):
            raise
    from gorae.cli.registries import obtain

    obtain(engine, image, options["platform"], missing=True)
    return engine.create(body, options["name"], options["platform"])


def join_streams(engine: Engine, identity: str, chosen: set[str], keys: str) -> Response:
    return engine.attach(identity, {"stream": True, "detachKeys": keys or None} | dict.fromkeys(chosen, True))


def start_container(engine: Engine, identity: str, explain: bool) -> None:
    engine.start(identity, explain=explain)


def explain_birth(engine: Engine, identity: str, explain: str) -> None:
    if not explain:
        return
    birth = engine.birth(identity)
    if explain == "json":
        print(json.dumps(birth, indent=2), file=sys.stderr)
        return
    from gorae.cli.explain import draw

    draw(birth)


def detached(engine: Engine, identity: str, ended: Response) -> bool:
    """Whether the stream ended because of the detach keys: the end of the program is announced within a moment, or it lives on."""
    import select

    poll = select.poll()
    poll.register(ended.connection.socket, select.POLLIN)
    if poll.poll(50):
        return False
    try:
        return bool(engine.inspect(identity)["State"]["Running"])
    except GoraeError:
        return False


def result(ended: Response) -> int:
    """The exit status that `wait` tells."""
    answer = json.loads(ended.read())
    if answer.get("Error") and answer["Error"].get("Message"):
        print(f"gorae: {answer['Error']['Message']}", file=sys.stderr)
        return 125
    status: int = answer["StatusCode"]
    return status


def remove_quietly(engine: Engine, identity: str) -> None:
    try:
        engine.remove(identity, force=True)
    except GoraeError:
        pass  # the engine has removed it, or will: it is marked for that


def exit_status(message: str) -> int:
    """Docker's exit status for a start that failed, from the engine's words."""
    if any(words in message for words in NOT_FOUND_WORDS):
        return 127
    if any(words in message for words in NOT_EXECUTABLE_WORDS):
        return 126
    return 125
