"""Where LocalStack would start a container for a function, start a process of this interpreter.

The one thing to know: this is no sandbox. A function sees this machine, its files and this interpreter's packages
(behind its own), and no limit of memory holds. Its time limit, its crashes and its logs are as on AWS.
"""

from __future__ import annotations

import os
import time
from typing import Any

from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

from rowmill_localstack.sandbox import Answer, Call, Sandbox

LOOPBACK = "127.0.0.1"
PASSED_ON = ("PATH", "TMPDIR", "ROWMILL_INSTANCE")  # the last is how whoever started LocalStack finds functions


class ProcessExecutor(RuntimeExecutor):
    """One execution environment of a function. It outlives its process: after a crash the next call gets another."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:  # noqa: A002 - LocalStack names it
        super().__init__(id=id, function_version=function_version)
        self._environment: dict[str, str] = {}
        self._sandbox: Sandbox | None = None

    def start(self, env_vars: dict[str, Any]) -> None:
        """Raises if the module cannot be imported. LocalStack ends a start that takes too long by `stop`."""
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._environment = passed_on | {name: str(value) for name, value in env_vars.items()}
        _, ready = self._open()
        if ready.failed:
            raise StatusErrorException("initialisation failed", payload=ready.payload)

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        sandbox, answer = self._sandbox, None
        if sandbox is None or not sandbox.alive:
            sandbox, answer = self._open()
        if answer is None or not answer.failed:
            answer = sandbox.call(self._call(payload))
        return InvocationResult(payload["invoke-id"], answer.payload, is_error=answer.failed, logs=sandbox.new_logs())

    def _open(self) -> tuple[Sandbox, Answer]:
        """A new sandbox in place of one that is used up, and whether it came to its first request for work."""
        self.stop()
        code = self.function_version.config.code.get_unzipped_code_location()
        self._sandbox = sandbox = Sandbox(code, self._environment)
        return sandbox, sandbox.wait_ready()

    def _call(self, payload: dict[str, str]) -> Call:
        return Call(
            id=payload["invoke-id"],
            arn=payload["invoked-function-arn"],
            trace=payload["trace-id"],
            payload=payload["payload"].encode(),
            deadline=time.time() + self.function_version.config.timeout,
        )

    def stop(self) -> None:
        if self._sandbox:
            self._sandbox.close()

    def get_logs(self) -> str:
        return self._sandbox.new_logs() if self._sandbox else ""

    def get_address(self) -> str:
        return LOOPBACK

    def get_endpoint_from_executor(self) -> str:
        return LOOPBACK

    def get_runtime_endpoint(self) -> str:
        """Asked for by LocalStack's own program in a container, which is not there."""
        return ""

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Nothing was made but the unzipped code, which LocalStack removes."""


class ProcessPlugin(RuntimeExecutorPlugin):
    name = "process"

    def load(self, *args: object, **kwargs: object) -> type[RuntimeExecutor]:
        return ProcessExecutor
