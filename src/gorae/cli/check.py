"""`gorae check`: is this machine fit?"""

from __future__ import annotations

import json

import click

from gorae.cli import tables

SIGNS = {"ok": ("✓", "32"), "warn": ("!", "33"), "fail": ("✗", "31")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The findings as data.")
@click.option("--data-root", default="/var/lib/gorae", metavar="PATH", help="Where images and containers will live.")
def check(as_json: bool, data_root: str) -> int:
    """Is this machine fit to run containers? A line each, with what to do; the exit status is 0 if it is."""
    from gorae.preflight import evaluation, facts

    findings = evaluation.evaluate(facts.gather(data_root))
    status = evaluation.verdict(findings)
    if as_json:
        print(json.dumps([finding_object(finding) for finding in findings], indent=2, ensure_ascii=False))
        return status
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        sign, code = SIGNS[finding.status]
        print(f"{tables.color(sign, code)} {finding.name:<{width}}  {finding.detail}")
        if finding.advice:
            print(f"  {'':<{width}}  {tables.color('→ ' + finding.advice, '2')}")
    bad = sum(finding.status == "fail" for finding in findings)
    warned = sum(finding.status == "warn" for finding in findings)
    print()
    print("this machine is fit" + (f", with {tables.counted(warned, 'warning')}" if warned else "") if not bad else
          f"this machine is not fit: {tables.counted(bad, 'problem')}")  # fmt: skip
    return status


def finding_object(finding: object) -> dict[str, str]:
    return {name: getattr(finding, name) for name in ("name", "status", "detail", "advice")}
