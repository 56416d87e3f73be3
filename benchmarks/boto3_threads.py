"""The plain script that credaudit is measured against: boto3 in a pool of threads. No evidence, no reports.

boto3 retries as it does by default.

`sessions` makes a boto3 session for each account, as boto3's documentation asks of threads and most such scripts do;
`clients` makes only a client for each account, from one session behind a lock.
"""

from __future__ import annotations

import csv
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

LIMIT = timedelta(days=90)
making_a_client = threading.Lock()


def iam_client(style: str, credentials: dict[str, Any]) -> Any:
    """An IAM client of one account."""
    keys = {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }
    if style == "sessions":
        return boto3.Session(**keys).client("iam")
    with making_a_client:
        return boto3.client("iam", **keys)


def old_keys_of(account_id: str, style: str, sts: Any) -> int:
    """Count the active keys older than the limit in one account."""
    answer = sts.assume_role(RoleArn=f"arn:aws:iam::{account_id}:role/CredentialAudit", RoleSessionName="benchmark")
    iam = iam_client(style, answer["Credentials"])
    while iam.generate_credential_report()["State"] != "COMPLETE":
        time.sleep(1)
    content = iam.get_credential_report()["Content"].decode()
    now = datetime.now(UTC)
    return sum(
        row[f"access_key_{n}_active"] == "true"
        and now - datetime.fromisoformat(row[f"access_key_{n}_last_rotated"]) > LIMIT
        for row in csv.DictReader(content.splitlines())
        for n in (1, 2)
    )


def main() -> None:
    """Scan with `sessions` or `clients`, and that many threads."""
    style, threads = sys.argv[1], int(sys.argv[2])
    sts = boto3.client("sts")
    caller = sts.get_caller_identity()["Account"]
    pages = boto3.client("organizations").get_paginator("list_accounts").paginate()
    accounts = [a["Id"] for page in pages for a in page["Accounts"] if a["State"] == "ACTIVE" and a["Id"] != caller]
    with ThreadPoolExecutor(threads) as pool:
        counts = list(pool.map(lambda account: old_keys_of(account, style, sts), accounts))
    print(f"{len(accounts)} accounts, {sum(counts)} old keys")


if __name__ == "__main__":
    main()
