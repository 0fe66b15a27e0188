"""The kept payloads: bridge and scorer take the same ones, and say the same of the others."""

from pathlib import Path

import pytest

from bridge.routing import Router
from contract.bounds import latest_ms
from contract.errors import Malformed
from contract.records import confluent_header
from contract.schema import SCHEMAS, get
from contract.telemetry import Decoder

CASES = Path(__file__).parents[2] / "cases"
NOW_S = 1_796_038_800  # 30 November 2026
IN_2045_S = 2_366_841_600
HEADER = confluent_header(get("telemetry", 1).schema_id)

REFUSED = {  # file: what is refused, and how it is said
    "epoch1970": ("malformed_record", "sampled_at 5000 is no time in ms since 1970"),
    "seconds": ("malformed_record", "sampled_at 1796038751 is no time in ms since 1970"),
    "micros": ("malformed_record", "sampled_at 1796038751488000 is no time in ms since 1970"),
    "wrap1901": ("malformed_record", "sampled_at -2147483648000 is no time in ms since 1970"),
    "y2045": ("impossible_time", "sampled_at 2366841600000 is 570802800 s ahead of our clock"),
    "negseq": ("malformed_record", "seq -5 "),
    "bigseq": ("malformed_record", "seq 17179869184 "),
    "msseq": ("malformed_record", "seq 1796038751488 "),
}


def _judge(name: str, now_s: int) -> tuple[Malformed | None, Malformed | None]:
    """What the bridge and the scorer have against a case."""
    payload = (CASES / f"{name}.bin").read_bytes()
    car = f"probe-{name.removeprefix('epoch').removeprefix('wrap').removeprefix('y')}"
    router = Router(SCHEMAS, payload_bytes_max=1_000, clock=lambda: now_s)
    try:
        router.route(f"fleet/v1/{car}/telemetry", payload)
        at_the_bridge = None
    except Malformed as error:
        at_the_bridge = error
    until_ms = latest_ms(now_s * 1_000)
    decoded = Decoder.of_all_versions().decode([HEADER + payload[10:]], [car.encode()], until_ms)
    return at_the_bridge, next((error for _, error in decoded.rejected), None)


def test_every_case_is_expected():
    """No payload is kept without a right answer."""
    assert {path.stem for path in CASES.glob("*.bin")} == {"ok", *REFUSED}


@pytest.mark.parametrize("name", REFUSED)
def test_both_ends_refuse_it_in_the_same_words(name: str):
    """The reason and the detail, which names the field, its value and its unit or bounds."""
    reason, words = REFUSED[name]
    bridge, scorer = _judge(name, NOW_S)
    assert bridge is not None
    assert (bridge.reason, str(bridge)) == (reason, str(scorer))
    assert words in bridge.detail


@pytest.mark.parametrize(("name", "now_s"), [("ok", NOW_S), ("y2045", IN_2045_S), ("y2045", 60)])
def test_both_ends_take_it(name: str, now_s: int):
    """An ordinary sample; one of 2045 in 2045, when times take 7 bytes; any where our clock is not set."""
    assert _judge(name, now_s) == (None, None)
