"""Telegraf, built from its Go module with the two plugins that a bridge needs."""

import os
import shutil
import subprocess
from pathlib import Path

from local.java import ROOT
from plumbing.life import WorldDown

VERSION = "v1.37.2"
CONFIG = Path(__file__).with_name("telegraf.toml")
PATH = ROOT / "var/peers" / f"telegraf-{VERSION}" / "telegraf"
_PLUGINS = "custom,inputs.mqtt_consumer,outputs.kafka,parsers.value,serializers.template"
_BUILT_WITHIN_S = 1_800.0


def binary() -> Path:
    """The program under var/peers; built there where it is not (minutes, 250 MiB of modules).

    Raises WorldDown where it cannot be built.
    """
    if PATH.exists():
        return PATH
    if shutil.which("go") is None:
        raise WorldDown("go is not installed: Telegraf is built from its Go module")
    PATH.parent.mkdir(parents=True, exist_ok=True)
    module = f"github.com/influxdata/telegraf/cmd/telegraf@{VERSION}"
    environment = os.environ | {"GOBIN": str(PATH.parent), "CGO_ENABLED": "0"}
    argv = ["go", "install", "-trimpath", "-ldflags", "-s -w", "-tags", _PLUGINS, module]
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, check=False, timeout=_BUILT_WITHIN_S
        )
    except subprocess.TimeoutExpired as error:
        raise WorldDown(f"`{' '.join(argv)}` took longer than {_BUILT_WITHIN_S:.0f} s") from error
    if done.returncode != 0 or not PATH.exists():
        raise WorldDown(f"`{' '.join(argv)}` failed: {done.stderr[-500:].strip()}")
    return PATH
