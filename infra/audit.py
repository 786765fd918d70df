"""`make audit`: what checkov says of the stack as prod has it, and cloudsplaining of every function's policy.

What is found and meant is in EXCEPTIONS with the reason, which docs/aws.md shows; anything else fails, and so does an
exception that is not found any more. Both tools are in a venv of their own (requirements-audit.txt).
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from samtranslator.translator.transform import transform

from infra.cloud import Cloud
from infra.deploy import located
from infra.package import ROOT, package

VENV: Final = ROOT / ".venv-audit" / "bin"
EXCEPTIONS: Final[Mapping[str, str]] = {
    "CKV_AWS_18": "The bucket logs no access. Every form and URL is made by the API, which logs that; a bucket of"
    " clients' addresses would be more to guard. Where it is wanted, CloudTrail's data events say the same.",
    "CKV_AWS_73": "Traces are a parameter (Tracing), which is on in prod: checkov does not follow it.",
    "CKV_AWS_76": "The gateway logs no access: the function logs every request, and CloudWatch counts what the gateway"
    " refuses. Its log needs a role that is one for the account and region, not for a stage.",
    "CKV_AWS_111": "Interfaces in a VPC and traces are not to be had for less than every resource. Lambda makes the"
    " first, and a function's code is denied them.",
    "CKV_AWS_115": "Only the API, and what must not run often, have concurrency set aside. What queues call is bounded"
    " by MaximumConcurrency of its mapping, which takes nothing from others.",
    "CKV_AWS_116": "A function that a queue calls has the queue's dead-letter queue; the others are called by one who"
    " waits for the answer, or again a minute later.",
    "CKV_AWS_120": "No cache: answers are for one caller, and have ETags.",
    "CKV_AWS_173": "Variables are encrypted with Lambda's own key, and hold no secret: they name the one that does.",
}
_SPLAINED: Final = """
import json, sys
from cloudsplaining.scan.policy_document import PolicyDocument
found = {}
for name, document in json.load(sys.stdin).items():
    policy = PolicyDocument(document)
    found[name] = {
        "privilege escalation": policy.allows_privilege_escalation,
        "data exfiltration": policy.allows_data_exfiltration_actions,
        "credentials exposure": policy.credentials_exposure,
        "service wildcard": policy.service_wildcard,
        "unrestricted": policy.all_allowed_unrestricted_actions,
    }
print(json.dumps(found))
"""


def main() -> int:
    """What was found and is no exception, or is one no more; 1 if there is any."""
    plain = _plain()
    found = {*_checked(plain), *_splained(plain), *_composed()}
    wrong = sorted(f"new: {one}" for one in found if one.split(" ")[0] not in EXCEPTIONS)
    seen = {one.split(" ")[0] for one in found}
    wrong += [f"an exception that is not needed: {one}" for one in sorted(EXCEPTIONS.keys() - seen)]
    print("\n".join(wrong) or f"nothing but the {len(EXCEPTIONS)} exceptions of docs/aws.md, {len(found)} times")
    return 1 if wrong else 0


def _plain() -> dict[str, Any]:
    """The stack as CloudFormation sees it once SAM is through with it."""
    cloud = Cloud("aws", None, "us-east-1", "123456789012")
    template = located(package("prod", vendored=False), cloud.artifact_bucket)
    os.environ.setdefault("AWS_DEFAULT_REGION", cloud.region)
    made: dict[str, Any] = transform(copy.deepcopy(template), {}, _NoManagedPolicies())
    return made


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def _checked(plain: Mapping[str, Any]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "stack.json")
        file.write_text(json.dumps(plain))
        command: list[str | Path] = [
            VENV / "checkov",
            "-f",
            file,
            "--framework",
            "cloudformation",
            "--skip-download",
            "-o",
            "json",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "LOG_LEVEL": "ERROR"}
        )
        results = json.loads(done.stdout)["results"]
    if results["parsing_errors"]:
        raise SystemExit(f"checkov cannot read the stack: {results['parsing_errors']}")
    print(f"checkov: {len(results['passed_checks'])} passed")
    for failed in results["failed_checks"]:
        yield f"{failed['check_id']} {failed['resource']}: {failed['check_name']}"


def _splained(plain: Mapping[str, Any]) -> Iterator[str]:
    policies = dict(_policies(plain))
    command: list[str | Path] = [VENV / "python", "-c", _SPLAINED]
    done = subprocess.run(command, input=json.dumps(policies), capture_output=True, text=True, check=True)
    print(f"cloudsplaining: {len(policies)} policies")
    for name, findings in json.loads(done.stdout).items():
        for kind, actions in findings.items():
            if actions:
                yield f"{kind.replace(' ', '-')} {name}: {actions}"


def _composed() -> Iterator[str]:
    """localstack-compose.yml by the models of the compose specification: no Docker, so nothing of it is started."""
    model = "import sys, yaml, compose_spec as c; c.ComposeSpecification.model_validate(yaml.safe_load(sys.stdin))"
    text = (ROOT / "localstack-compose.yml").read_text()
    done = subprocess.run([VENV / "python", "-c", model], input=text, capture_output=True, text=True, check=False)
    print(f"localstack-compose.yml: {'invalid' if done.returncode else 'valid'}")
    if done.returncode:
        yield f"compose {done.stderr.splitlines()[-1]}"


def _policies(plain: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every role's and every managed policy, with what they refer to as some ARN."""
    for name, resource in plain["Resources"].items():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"]["Policies"]:
                yield f"{name}.{policy['PolicyName']}", _arns(policy["PolicyDocument"])
        elif resource["Type"] == "AWS::IAM::ManagedPolicy":
            yield name, _arns(resource["Properties"]["PolicyDocument"])


def _arns(node: Any) -> Any:
    if isinstance(node, list):
        return [_arns(one) for one in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1 and next(iter(node)) in ("Ref", "Fn::GetAtt", "Fn::Sub"):
        (referred,) = node.values()
        named = ".".join(referred) if isinstance(referred, list) else str(referred)
        return re.sub(r"\$\{([\w.:]+)\}", r"\1", named) if named.startswith("arn:") else f"arn:aws:x:::{named}"
    return {key: _arns(value) for key, value in node.items()}


if __name__ == "__main__":
    sys.exit(main())
