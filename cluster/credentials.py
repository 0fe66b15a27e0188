"""Credentials of the cluster: a certificate authority, one certificate, and a token for each component.

They are made anew for each run and only their owner can read them: another user of the machine who could
start a pod would have a process of root.
"""

import os
import secrets
import subprocess
from pathlib import Path

from cluster.overlay import NAMESPACE
from local.store import quoted
from plumbing.life import WorldDown

# User and groups of each token (static tokens, --token-auth-file).
_WHO = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": ("system:node:localhost", "system:nodes"),
}
_DAYS = "30"
_KUBECONFIG = Path(__file__).with_name("kubeconfig.yaml").read_text(encoding="utf-8")


class Credentials:
    """Files under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = folder / "ca.crt"  # certificate of the authority
        # Certificate of API server and etcd, and of the API server as a client of etcd and the kubelet.
        self.certificate = folder / "own.crt"
        self.key = folder / "own.key"  # of `certificate`
        self.account_key = folder / "accounts.key"  # signs the tokens of service accounts
        self.tokens = folder / "tokens.csv"  # table of tokens that the API server reads

    def kubeconfig(self, who: str) -> Path:
        """The kubeconfig of admin, controllers, scheduler or kubelet."""
        return self.folder / f"{who}.kubeconfig"

    def make(self, api_port: int) -> None:
        """Write all files. Raises WorldDown where openssl fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with os.fdopen(os.open(self.folder / "own.ext", os.O_CREAT | os.O_WRONLY, 0o600), "w") as extensions:
            extensions.write(
                "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"
            )
        ca_key, request = self.folder / "ca.key", self.folder / "own.csr"
        new_key = ["-newkey", "rsa:2048", "-nodes"]
        self._openssl("req", "-x509", *new_key, "-keyout", ca_key, "-out", self.authority, "-days", _DAYS,
                      "-subj", "/CN=cars", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
        self._openssl("req", *new_key, "-keyout", self.key, "-out", request, "-subj", "/CN=control-plane")
        self._openssl("x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", ca_key,
                      "-set_serial", "2", "-out", self.certificate, "-days", _DAYS,
                      "-extfile", self.folder / "own.ext")  # fmt: skip
        self._openssl("genrsa", "-out", self.account_key, "2048")
        tokens = {who: secrets.token_hex(16) for who in _WHO}
        rows = [f'{tokens[who]},{user},{user},"{groups}"' for who, (user, groups) in _WHO.items()]
        self.tokens.write_text("\n".join(rows) + "\n", encoding="utf-8")
        for who, token in tokens.items():
            text = _KUBECONFIG.format(
                api_port=api_port, authority=quoted(self.authority), token=token, namespace=NAMESPACE
            )
            self.kubeconfig(who).write_text(text, encoding="utf-8")

    @staticmethod
    def _openssl(*arguments: str | Path) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise WorldDown(f"openssl {arguments[0]} failed: {done.stderr[-500:]}")
