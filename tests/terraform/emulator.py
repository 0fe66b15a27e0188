"""Terraform against moto: a copy of terraform/ that the old provider takes, a server, and the commands.

The copy differs from terraform/ in three ways, each only because of the provider's age or the emulator: the
files of overrides/ lie beside the real ones, what the old provider's schema does not know is left out (found
by comparing, listed in `Copy.left_out`), and what it demands on top is put in.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plumbing import web

from .downloads import STATE, moto_server, old_provider
from .hcl import ROOT

OVERRIDES = Path(__file__).parent / "overrides"
# Test ports end below 32768; TEST_PORT_OFFSET is for two runs on one machine.
PORT = 20_700 + int(os.environ.get("TEST_PORT_OFFSET", "1000"))
STEP_SECONDS_MAX = 180

# What 3.39 demands and the current provider does not.
DEMANDED = {
    "aws_eip": "vpc = true",
    "aws_iam_openid_connect_provider": 'thumbprint_list = ["9e99a48a9960b14926bb7f3b02e22da2b0ab7280"]',
}


@dataclass
class Copy:
    """terraform/ as the old provider takes it."""

    path: Path
    left_out: set[str] = field(default_factory=set)  # "aws_eip.domain"

    def adapt(self, old: dict[str, Any]) -> None:
        """Leave out what `old` (resource type: block of `terraform providers schema -json`) does not know."""
        for file in self.path.glob("modules/aws/*/main.tf"):
            file.write_text("\n".join(self._adapted(file.read_text().splitlines(), old)) + "\n")

    def _adapted(self, lines: list[str], old: dict[str, Any]) -> Iterator[str]:
        # terraform fmt has indented: an argument or a block of a resource begins after two blanks, and what
        # belongs to it stands deeper or is its closing bracket.
        resource, dropping = "", False
        for line in lines:
            if found := re.match(r'resource "(\w+)"', line):
                resource = found[1]
                yield line
                if resource in DEMANDED:
                    yield f"  {DEMANDED[resource]}"
                continue
            if line == "}":
                resource, dropping = "", False
            if resource and (found := re.match(r'  (?:dynamic ")?(\w+)', line)):
                dropping = not _knows(old[resource], found[1])
                if dropping:
                    self.left_out.add(f"{resource}.{found[1]}")
            if not dropping:
                yield line


def _knows(block: dict[str, Any], name: str) -> bool:
    if name in {"for_each", "depends_on", "lifecycle"} | set(block.get("block_types", {})):
        return True
    attribute = block["attributes"].get(name, {})
    return bool(attribute.get("optional") or attribute.get("required"))


def copy() -> Copy:
    """A fresh copy with the test-only files in it."""
    path = STATE / "run"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(
        ROOT, path, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "terraform.tfvars")
    )
    for name, target in {
        "root": "aws",
        **{n: f"modules/aws/{n}" for n in ("network", "cluster", "registry")},
    }.items():
        shutil.copytree(OVERRIDES / name, path / target, dirs_exist_ok=True)
    return Copy(path)


class Terraform:
    """Terraform's commands in a folder; each is timed, and shown as it is run."""

    def __init__(self, folder: Path) -> None:
        self.times_s: dict[str, float] = {}
        self._folder = folder
        config = STATE / "terraformrc"
        mirror = json.dumps(str(old_provider()))
        config.write_text(
            "disable_checkpoint = true\n"
            f"provider_installation {{\n  filesystem_mirror {{\n    path = {mirror}\n  }}\n}}\n"
        )
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._environment = kept | {
            "TF_CLI_CONFIG_FILE": str(config),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }

    def __call__(
        self, *arguments: str, step: str = "", codes: tuple[int, ...] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        """Run it. Raises AssertionError with the end of the output where the exit code is none of `codes`."""
        started_s = time.monotonic()
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS_MAX,
            check=False,
        )
        self.times_s[step or arguments[0]] = time.monotonic() - started_s
        assert done.returncode in codes, (
            f"terraform {' '.join(arguments)}:\n{(done.stdout + done.stderr)[-4000:]}"
        )
        return done

    def old_schemas(self) -> dict[str, Any]:
        """Resource type: attributes and block types that the provider in the mirror knows."""
        schemas = json.loads(self("providers", "schema", "-json").stdout)["provider_schemas"]
        (provider,) = schemas.values()
        return {name: schema["block"] for name, schema in provider["resource_schemas"].items()}


# Asked with Amazon's own client, which comes with moto: what Terraform believes is in its state already.
_COUNT = """
import boto3, json, sys
client = lambda name: boto3.client(name, endpoint_url=sys.argv[1], region_name="eu-central-1",
                                   aws_access_key_id="emulated", aws_secret_access_key="emulated")
eks, ec2 = client("eks"), client("ec2")
clusters = eks.list_clusters()["clusters"]
gateways = ec2.describe_nat_gateways()["NatGateways"]
print(json.dumps({
    "clusters": len(clusters),
    "node groups": sum(len(eks.list_nodegroups(clusterName=name)["nodegroups"]) for name in clusters),
    "networks": len(ec2.describe_vpcs()["Vpcs"]),
    "subnets": len(ec2.describe_subnets()["Subnets"]),
    "gateways": sum(gateway["State"] == "available" for gateway in gateways),
    "roles": len(client("iam").list_roles()["Roles"]),
    "repositories": len(client("ecr").describe_repositories()["repositories"]),
}))
"""


class Moto:
    """A running emulator."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def counts(self) -> dict[str, int]:
        """How many there are of each kind that a site is made of."""
        python = moto_server().parent / "python"
        asked = subprocess.run(
            [python, "-c", _COUNT, self.url], capture_output=True, text=True, timeout=60, check=True
        )
        found: dict[str, int] = json.loads(asked.stdout)
        return found

    def answers(self) -> bool:
        """Whether it serves."""
        try:
            with web.opened(f"{self.url}/moto-api/", timeout_s=20):
                return True
        except OSError:
            return False


@contextmanager
def moto() -> Iterator[Moto]:
    """An empty emulator on 127.0.0.1, ended with the block."""
    log = (STATE / "moto.log").open("w")
    server = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", str(moto_server()), "-H", "127.0.0.1", "-p", str(PORT)],
        env={"PATH": os.environ["PATH"], "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        emulator = Moto(PORT)
        _wait_until_it_answers(emulator, server)
        yield emulator
    finally:
        server.terminate()
        server.wait(timeout=10)
        log.close()


def _wait_until_it_answers(emulator: Moto, server: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + 60
    while not emulator.answers():
        assert server.poll() is None, f"moto ended: {(STATE / 'moto.log').read_text()[-2000:]}"
        assert time.monotonic() < deadline_s, "moto does not answer"
        time.sleep(0.2)
