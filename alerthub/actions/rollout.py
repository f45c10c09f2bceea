"""Where the rollout of a Kubernetes deployment stands, as its status tells (PROTOCOLS 6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from alerthub.actions.kubernetes_api import part


class Rollout(StrEnum):
    done = "done"
    waiting = "waiting"
    stuck = "stuck"


def rollout(deployment: Mapping[str, Any]) -> tuple[Rollout, str]:
    """kubectl's rule (rollout_status.go), and where it stands, in words."""
    status = part(deployment, "status")
    if number(part(deployment, "metadata"), "generation") > number(status, "observedGeneration"):
        return Rollout.waiting, "the cluster has not begun"
    wanted = number(part(deployment, "spec"), "replicas", 1)
    updated, total, available = (number(status, name) for name in ("updatedReplicas", "replicas", "availableReplicas"))
    text = f"{updated} of {wanted} pods are as they shall be, {available} available, {max(0, total - updated)} old ones left"
    if is_out_of_time(status):
        return Rollout.stuck, f"ProgressDeadlineExceeded; {text}"
    return (Rollout.done if wanted == updated == total == available else Rollout.waiting), text


def is_out_of_time(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions")
    return any(part({"one": condition}, "one").get("type") == "Progressing"
               and condition.get("reason") == "ProgressDeadlineExceeded"
               for condition in (conditions if isinstance(conditions, list) else []))


def number(value: Mapping[str, Any], name: str, otherwise: int = 0) -> int:
    found = value.get(name, otherwise)
    return found if type(found) is int else otherwise
