"""What the services may do in the Kafkas of `make compat`, and no more: docs/compatibility.md lists it."""

import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from contract.topics import MODELS, edge_topics, mirrored
from plumbing import kafka
from plumbing.life import WorldDown

# A scorer's: of its partitions, of its models, of the states that it takes over. The latter two commit
# nothing, but the client asks for the coordinator of every group that it names.
_GROUPS = ("scorer", "scorer-models", "scorer-state")
_WITHIN_S = 30.0


def grant(bootstrap: str, user: str, administrator: Path, client: Path) -> None:
    """Let `user` do what bridge and scorers do, and wait until it holds. Raises WorldDown.

    administrator, client: properties of one who may grant, and of `user`. The topics exist already.
    """
    names = [topic.name for topic in edge_topics()]
    copied = mirrored("cloud", MODELS)  # written by MirrorMaker alone
    rules = [_rule(user, ResourceType.GROUP, group, AclOperation.READ) for group in _GROUPS]
    rules += [_rule(user, ResourceType.TOPIC, name, AclOperation.WRITE) for name in names if name != copied]
    rules += [_rule(user, ResourceType.TOPIC, name, AclOperation.READ) for name in names]
    admin = kafka.admin(bootstrap, administrator)
    try:
        for future in admin.create_acls(rules).values():
            future.result(timeout=_WITHIN_S)
    except KafkaException as error:
        raise WorldDown(f"Kafka did not grant {user} its rights: {error}") from error
    # Before they hold, the first request of a producer would be its last.
    deadline, seen = time.monotonic() + _WITHIN_S, kafka.admin(bootstrap, client)
    while set(names) - seen.list_topics(timeout=_WITHIN_S).topics.keys():
        if time.monotonic() > deadline:
            raise WorldDown(f"Kafka has not granted {user} its rights within {_WITHIN_S:.0f} s")
        time.sleep(0.1)


def _rule(user: str, kind: ResourceType, name: str, operation: AclOperation) -> AclBinding:
    anywhere, exact = "*", ResourcePatternType.LITERAL
    return AclBinding(kind, name, exact, f"User:{user}", anywhere, operation, AclPermissionType.ALLOW)
