"""What services may do in a cluster is what they do."""

from typing import Any

import yaml

from trainer.launch.api import RIGHTS


def test_the_launcher_may_do_what_it_does_and_nothing_else(tree: Any):
    """The Role in k8s/ and trainer/launch/api.py list the same rights; only the CronJob is named."""
    documents = list(yaml.safe_load_all(tree.text("k8s/apps/trainer/launcher.yaml")))
    (role,) = (document for document in documents if document["kind"] == "Role")
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == RIGHTS
    (cronjobs,) = (rule for rule in role["rules"] if rule["resources"] == ["cronjobs"])
    assert cronjobs["resourceNames"] == ["trainer"]
