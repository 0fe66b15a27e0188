"""`trainer launch` against a scripted cluster: what it shows, when it gives up, how it ends."""

from typing import Any

import pytest

from plumbing.life import Stop, WorldDown
from plumbing.settings import SettingsError, load
from trainer.launch.api import Gone, message_of
from trainer.launch.command import OUT_OF_SIGHT_S, STOPPED, TIMED_OUT, Launch, job_from, split
from trainer.launch.settings import Settings

CRONJOB = {
    "metadata": {"name": "trainer", "uid": "u-1"},
    "spec": {
        "jobTemplate": {
            "metadata": {"labels": {"app": "trainer"}, "annotations": {"note": "kept"}},
            "spec": {
                "backoffLimit": 2,
                "newerThanTheClient": True,
                "template": {"spec": {"containers": [{"name": "trainer", "args": ["train"]}]}},
            },
        }
    },
}
META = {"name": "trainer-x-1", "creationTimestamp": "2026-01-01T00:00:00Z"}
SPEC = {"nodeName": "node-1"}


def looks(
    current: dict[str, Any], *conditions: str, pod: int = 1
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the API returns at one moment: the Job, and its pod with the container's state."""
    status = {"conditions": [{"type": kind, "status": "True"} for kind in conditions]}
    statuses = [{"name": "trainer", "state": current}]
    meta = META | {"name": f"trainer-x-{pod}"}
    return {"status": status}, [{"metadata": meta, "spec": SPEC, "status": {"containerStatuses": statuses}}]


PULLING = looks({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}})
STARTING = looks({"waiting": {"reason": "ContainerCreating"}})
RUNNING = looks({"running": {}})
DONE = looks({"terminated": {"exitCode": 0}}, "Complete")
REFUSED = looks({"terminated": {"exitCode": 3}}, "Failed")


class Script:
    """A cluster with scripted answers, the last one for ever; an exception among them is raised."""

    namespace, where = "cars", "context test"

    def __init__(self, *script: Any, lines: dict[str, tuple[str, ...]] | None = None) -> None:
        self.script, self.lines = list(script), lines or {}
        self.created: dict[str, Any] = {}
        self.deleted: list[str] = []
        self.there: list[dict[str, Any]] = []
        self._pods: list[dict[str, Any]] = []

    def cronjob(self, _name: str) -> dict[str, Any]:
        return CRONJOB

    def create_job(self, job: dict[str, Any]) -> dict[str, Any]:
        self.created = job
        return {"metadata": {"name": "trainer-x"}}

    def jobs(self) -> list[dict[str, Any]]:
        return self.there

    def job(self, _name: str) -> dict[str, Any]:
        look = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(look, Exception):
            raise look
        job, self._pods = look
        return job  # type: ignore[no-any-return]

    def pods(self, _job: str) -> list[dict[str, Any]]:
        return self._pods

    def events(self, _name: str) -> list[dict[str, Any]]:
        return []

    def log_lines(self, pod: str, _container: str, since: str) -> list[tuple[str, str]]:
        stamped = [
            (f"2026-01-01T00:00:{second:02d}Z", line) for second, line in enumerate(self.lines.get(pod, ()))
        ]
        return [(stamp, line) for stamp, line in stamped if stamp > since]

    def delete_job(self, name: str) -> None:
        self.deleted.append(name)


class Run:
    """A launch against a script, with a clock that advances only by sleeping."""

    def __init__(self, script: Script, *flags: str, stop_after_s: float = 1e9) -> None:
        self.shown: list[str] = []
        self.logged: list[str] = []
        self.now_s = 0.0
        stop = Stop()

        def sleep(seconds: float) -> None:
            self.now_s += seconds
            if self.now_s >= stop_after_s:
                stop.request()

        settings = load(Settings, prefix="LAUNCH", argv=flags, environ={})
        launch = Launch(
            settings,
            script,  # type: ignore[arg-type]
            stop,
            clock=lambda: self.now_s,
            sleep=sleep,
            show=self.shown.append,
            say=self.logged.append,
        )
        self.code = launch.run(["--seed", "7"])

    @property
    def text(self) -> str:
        return "\n".join(self.shown)


def test_a_job_is_made_from_the_template_as_kubectl_does():
    """The whole template, unknown fields included; owned by the CronJob, which is not changed."""
    job = job_from(CRONJOB, ["--seed", "7"])
    assert job["spec"]["newerThanTheClient"] is True
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["train", "--seed", "7"]
    assert job["metadata"]["labels"] == {"app": "trainer"}
    assert job["metadata"]["annotations"] == {"cronjob.kubernetes.io/instantiate": "manual", "note": "kept"}
    assert job["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert CRONJOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] == ["train"]  # type: ignore[index]


def test_a_template_without_the_container_is_refused():
    """The message names the container and those that exist."""
    template = {"template": {"spec": {"containers": [{"name": "backup"}]}}}
    other = {"metadata": {"name": "nightly"}, "spec": {"jobTemplate": {"spec": template}}}
    with pytest.raises(SettingsError, match="CronJob nightly has no container trainer but backup"):
        job_from(other, [])


def test_arguments_after_two_dashes_are_the_trainers():
    """As in `launch --namespace x -- --seed 7`."""
    assert split(["--namespace", "x", "--", "--seed", "7"]) == (["--namespace", "x"], ["--seed", "7"])
    assert split(["--namespace", "x"]) == (["--namespace", "x"], [])


def test_a_training_is_followed_to_its_end():
    """Each state is shown once, then the log, a table at the end, and exit code 0."""
    run = Run(
        Script(STARTING, STARTING, RUNNING, RUNNING, DONE, lines={"trainer-x-1": ("epoch 1", "published")})
    )
    assert run.code == 0
    assert run.logged == ["epoch 1", "published"]
    assert run.text.count("ContainerCreating") == 1
    assert "trained and published" in run.text
    assert "exit code        0" in run.text
    assert "failed attempts  0" in run.text


OWNED = {"ownerReferences": [{"kind": "CronJob", "name": "trainer"}]}


@pytest.mark.parametrize(
    ("there", "created"),
    [
        ([{"metadata": {"name": "nightly", **OWNED}, "status": {}}], False),
        ([{"metadata": {"name": "done", **OWNED}, **DONE[0]}, {"metadata": {"name": "another's"}}], True),
    ],
)
def test_a_job_that_runs_already_is_followed_if_so_set(there: list[dict[str, Any]], created: bool):
    """A Job of this CronJob, by schedule or by hand; not one that has ended, nor another CronJob's."""
    script = Script(RUNNING, DONE)
    script.there = there
    run = Run(script, "--if-running", "follow")
    assert run.code == 0
    assert bool(script.created) == created
    assert ("Job nightly runs already" in run.text) != created
    assert Run(script).code == 0
    assert script.created


def test_the_log_of_a_second_attempt_follows_that_of_the_first():
    """The Job starts another pod after a failure: each line of both is shown once."""
    lines = {"trainer-x-1": ("epoch 1", "killed"), "trainer-x-2": ("epoch 1", "epoch 2")}
    again, done = looks({"running": {}}, pod=2), looks({"terminated": {"exitCode": 0}}, "Complete", pod=2)
    run = Run(Script(RUNNING, again, again, done, lines=lines))
    assert run.logged == ["epoch 1", "killed", "epoch 1", "epoch 2"]


def test_the_gates_refusal_is_exit_code_3():
    """`python -m trainer train` ends with it, too."""
    run = Run(Script(RUNNING, REFUSED))
    assert run.code == 3
    assert "refused by the gate, nothing published" in run.text


def test_an_image_that_cannot_be_pulled_ends_it_soon():
    """It gives up after --blocked-s, leaves the Job alone and says where to look."""
    script = Script(PULLING)
    run = Run(script, "--blocked-s", "5")
    assert (run.code, run.now_s) == (TIMED_OUT, 5.0)
    assert "ImagePullBackOff: not found" in run.text
    assert "kubectl -n cars describe pod trainer-x-1" in run.text
    assert "kubectl -n cars delete job trainer-x" in run.text
    assert not script.deleted


def test_a_pull_that_works_in_the_end_is_no_failure():
    """With a slow registry: only blocking for --blocked-s without a break gives up."""
    run = Run(Script(PULLING, PULLING, STARTING, PULLING, PULLING, RUNNING, DONE), "--blocked-s", "3")
    assert run.code == 0


@pytest.mark.parametrize("look", [STARTING, RUNNING])
def test_waiting_has_an_end(look: Any):
    """A pod that never starts and a training that never ends give 124, and name the flag."""
    run = Run(Script(look), "--timeout-s", "20")
    assert (run.code, run.now_s) == (TIMED_OUT, 20.0)
    assert "--timeout-s" in run.text


def test_ctrl_c_leaves_the_job_alone_and_says_so():
    """It says how to see the log again and how to end the Job."""
    script = Script(RUNNING)
    run = Run(script, stop_after_s=3)
    assert run.code == STOPPED
    assert not script.deleted
    assert "Job trainer-x goes on: kubectl -n cars logs -f job/trainer-x" in run.text


def test_ctrl_c_deletes_the_job_if_so_set():
    """With --on-stop delete."""
    script = Script(RUNNING)
    assert Run(script, "--on-stop", "delete", stop_after_s=3).code == STOPPED
    assert script.deleted == ["trainer-x"]


def test_an_api_server_that_is_away_for_a_while_ends_nothing():
    """It asks again for OUT_OF_SIGHT_S, then raises WorldDown."""
    assert Run(Script(RUNNING, *[WorldDown("away")] * int(OUT_OF_SIGHT_S), DONE)).code == 0
    with pytest.raises(WorldDown, match="away"):
        Run(Script(RUNNING, WorldDown("away")))


def test_a_job_that_somebody_deletes_is_a_failure():
    """Its result is unknown."""
    run = Run(Script(RUNNING, Gone("x")))
    assert run.code == 1
    assert "deleted by somebody else" in run.text


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--blocked-s", "0"], "--blocked-s"),
        (["--timeout-s", "-1"], "--timeout-s"),
        (["--cronjob", ""], "--cronjob"),
        (["--on-stop", "maybe"], "--on-stop"),
    ],
)
def test_a_wrong_setting_refuses_the_start(argv: list[str], named: str):
    """The message names the setting."""
    with pytest.raises(SettingsError, match=named):
        load(Settings, prefix="LAUNCH", argv=argv, environ={})


def test_the_servers_message_is_shown():
    """The message of its Status object; a proxy's page is cut short."""
    assert message_of(b'{"kind": "Status", "message": "jobs is forbidden"}') == "jobs is forbidden"
    assert message_of(b"<html>" + b"x" * 1000) == "<html>" + "x" * 194
    assert message_of(b"") == "no reason given"
