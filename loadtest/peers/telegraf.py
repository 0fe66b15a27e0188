"""Telegraf, built from its Go module with the two plugins that a bridge needs."""

import os
import shutil
from pathlib import Path

from loadtest import peers
from local.java import ROOT
from plumbing.life import WorldDown

VERSION = "v1.37.2"
CONFIG = Path(__file__).with_name("telegraf.toml")
PATH = ROOT / "var/peers" / f"telegraf-{VERSION}" / "telegraf"
_PLUGINS = "custom,inputs.mqtt_consumer,outputs.kafka,parsers.value,serializers.template"
_BUILT_WITHIN_S = 1_800.0


def binary() -> Path:
    """The program under var/peers, built when it is first needed (some minutes, 250 MiB of modules).

    Raises WorldDown where it cannot be built.
    """
    if not PATH.exists():
        if shutil.which("go") is None:
            raise WorldDown("go is not installed: Telegraf is built from its Go module")
        PATH.parent.mkdir(parents=True, exist_ok=True)
        module = f"github.com/influxdata/telegraf/cmd/telegraf@{VERSION}"
        argv = ["go", "install", "-trimpath", "-ldflags", "-s -w", "-tags", _PLUGINS, module]
        environment = os.environ | {"GOBIN": str(PATH.parent), "CGO_ENABLED": "0"}
        peers.install(argv, _BUILT_WITHIN_S, environment)
    return PATH
