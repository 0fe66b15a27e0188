"""What services may do in a cluster is what they do."""

from typing import Any

import yaml

from trainer.cluster import RIGHTS


def test_the_launcher_may_do_what_it_does_and_nothing_else(tree: Any):
    """The Role in k8s/ and the calls in trainer/cluster.py are the same list; only its template is named."""
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
