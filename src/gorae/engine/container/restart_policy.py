"""Restart policies, as functions of what happened. Pure.

    no               never
    always           always, also when the engine starts; not after `stop` until the next `start` or engine start
    unless-stopped   as always, but a `stop` outlives the engine
    on-failure[:N]   when the exit code is not 0, at most N times in a row (0: without end)
    on-unhealthy[:N] the same, and when its health check fails: it is ended then (not in Docker, whose users have asked for it)

The wait before the n-th restart in a row is 100 ms × 2ⁿ, at most 60 s; a container that ran for 10 s begins anew.
"""

from __future__ import annotations

from gorae import errors
from gorae.engine.container.model import Container, RestartPolicy, State

FIRST_WAIT = 0.1
LONGEST_WAIT = 60.0
SETTLED_AFTER = 10.0
NAMES = ("", "no", "always", "unless-stopped", "on-failure", "on-unhealthy")
COUNTED = ("on-failure", "on-unhealthy")


def check(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """InvalidArgument in Docker's words."""
    if policy.name not in NAMES:
        raise errors.InvalidArgument(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if policy.maximum_retry_count < 0:
        raise errors.InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if policy.maximum_retry_count and policy.name not in COUNTED:
        raise errors.InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if auto_remove and policy.name not in ("", "no"):
        raise errors.InvalidArgument("can't create 'AutoRemove' container with restart policy")


def wait_before(restarts: int) -> float:
    """Seconds before the next restart when there were `restarts` in a row."""
    return float(min(FIRST_WAIT * 2 ** min(restarts, 20), LONGEST_WAIT))


def in_a_row(restarts: int, ran_for: float) -> int:
    """The count after a run of `ran_for` seconds."""
    return 0 if ran_for >= SETTLED_AFTER else restarts


def wanted_after(container: Container) -> bool:
    """Whether a container that has just ended is started again."""
    policy, state = container.config.restart_policy, container.state
    if state.stopped_by_user:
        return False
    if policy.name in ("always", "unless-stopped"):
        return True
    if policy.name in COUNTED:
        failed = state.exit_code != 0 or (policy.name == "on-unhealthy" and _is_unhealthy(state))
        return failed and (policy.maximum_retry_count == 0 or container.restart_count < policy.maximum_retry_count)
    return False


def _is_unhealthy(state: State) -> bool:
    return state.health is not None and state.health.status == "unhealthy"


def wanted_at_engine_start(container: Container) -> bool:
    """Whether a container that does not run is started when the engine opens (it ran once)."""
    return container.config.restart_policy.name == "always" or wanted_after(container)
