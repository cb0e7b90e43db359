"""Is the distribution known and still supported?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from gorae.preflight.finding import Finding
from gorae.preflight.support import ENDS, ROLLING, SAME_AS

SOON_DAYS = 90
UPDATES = "see to it yourself that the kernel gets updates"


def evaluate(os_release: Mapping[str, str], today: date) -> Finding:
    name = os_release.get("PRETTY_NAME") or os_release.get("NAME") or os_release.get("ID", "")
    if not name:
        return Finding("distribution", "warn", "unknown: there is no os-release file", UPDATES)
    if is_rolling(os_release):
        return Finding("distribution", "ok", f"{name}: without releases, supported as long as it is updated")
    end = end_of_support(os_release)
    if end is None:
        return Finding("distribution", "warn", f"{name}: not known when its support ends", UPDATES)
    if today > end:
        return Finding("distribution", "warn", f"{name}: not supported since {end}", "upgrade: kernel fixes no longer arrive")
    if (end - today).days <= SOON_DAYS:
        return Finding("distribution", "ok", f"{name}: supported until {end}", "plan the upgrade")
    return Finding("distribution", "ok", f"{name}: supported until {end}")


def is_rolling(os_release: Mapping[str, str]) -> bool:
    identity = os_release.get("ID", "").lower()
    # Debian's testing and unstable have no version.
    return identity in ROLLING or (identity == "debian" and not os_release.get("VERSION_ID"))


def end_of_support(os_release: Mapping[str, str]) -> date | None:
    """The last supported day; None when neither the distribution nor the table says it."""
    own = _date(os_release.get("SUPPORT_END", ""))
    if own is not None:
        return own
    identity = os_release.get("ID", "").lower()
    versions = ENDS.get(SAME_AS.get(identity, identity), {})
    version = os_release.get("VERSION_ID", "")
    while version:
        if version in versions:
            return _date(versions[version])
        version = version.rpartition(".")[0]
    return None


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
