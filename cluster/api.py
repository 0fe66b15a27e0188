"""A Kubernetes, wherever it runs, used through kubectl."""

import subprocess
from pathlib import Path

from plumbing.life import WorldDown

KUBECTL_WITHIN_S = 150.0


class Api:
    """`kubeconfig` has all rights in our namespace; kubectl and the Python client use it."""

    def __init__(self, program: Path | str, kubeconfig: Path) -> None:
        """`program` is kubectl."""
        self.kubeconfig = kubeconfig
        self._program = str(program)

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """The output of kubectl. Raises WorldDown with its error."""
        done = self.ask(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise WorldDown(f"kubectl {' '.join(map(str, arguments))}: {done.stderr[-2000:]}")
        return done.stdout

    def ask(self, *arguments: str | Path, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """The result of kubectl, also where it fails. Raises WorldDown where it does not end in time."""
        argv = [self._program, f"--kubeconfig={self.kubeconfig}", *map(str, arguments)]
        try:
            return subprocess.run(
                argv, input=stdin, capture_output=True, text=True, timeout=KUBECTL_WITHIN_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            line = " ".join(map(str, arguments))
            raise WorldDown(f"kubectl {line} does not end within {KUBECTL_WITHIN_S:.0f} s") from error
