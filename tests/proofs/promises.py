"""Everything that the README shows, in the order in which it is proved."""

import sys

from tests.proofs import figures
from tests.proofs.proof import Proof

PROOFS = (
    Proof(
        "demo", "git clone … && make demo", ["tests/proofs/demo.sh"], 20, figures.demo,
        ["var/proofs/demo/ledger.json", "var/proofs/demo/scorecard.json"],
    ),
    Proof("test", "make test", ["make", "test"], 60, figures.timed_tests),
    Proof("test-all", "make test-all", ["make", "test-all"], 90, figures.tests),
    Proof(
        "bench", "make bench PEERS=1", ["make", "bench", "PEERS=1"], 40, figures.bench,
        ["var/bench/summary.json"],
    ),
    Proof("scale", "make scale", ["make", "scale"], 30, figures.scale, ["var/scale/summary.json"]),
    Proof("chaos", "make chaos", ["make", "chaos"], 40, figures.chaos, ["var/chaos/ledger.json"]),
    Proof(
        "pairs", "make chaos PAIRS=20", ["make", "chaos", "PAIRS=20"], 40, figures.chaos,
        ["var/chaos/ledger.json"],
    ),
    Proof(
        "quality", "make quality CHECK=1", ["make", "quality", "CHECK=1"], 60, figures.quality,
        ["var/quality/scorecard.json"],
    ),
    Proof("life", "make life", ["make", "life"], 90, figures.life, ["var/life/summary.json"]),
    Proof("load", "make load", [sys.executable, "-m", "tests.proofs.load"], 15, figures.load),
    Proof(
        "plan", "python -m loadtest plan --check", [sys.executable, "-m", "loadtest", "plan", "--check"], 20,
        figures.plan,
    ),
    Proof("cluster", "make cluster", ["make", "cluster"], 90, figures.cluster, ["var/cluster/figures.json"]),
    Proof("terraform", "make terraform", ["make", "terraform"], 40, figures.tests),
    Proof("registry", "make test-registry", ["make", "test-registry"], 20, figures.tests),
)  # fmt: skip
