"""DynamoDB for LocalStack from the moto it ships, in place of Amazon's Java program, which it would download.

The one thing to know: moto changes its tables without locks, so two transactions may both find their condition
true. Here one lock lets in one request at a time.
"""

from threading import RLock

from localstack.aws.api import RequestContext, ServiceRequest
from localstack.aws.api.dynamodb import DynamodbApi
from localstack.aws.forwarder import ForwardingFallbackDispatcher
from localstack.http import Response
from localstack.services.moto import dispatch_to_moto
from localstack.services.plugins import Service, aws_provider

_turn = RLock()


def _answer(context: RequestContext, request: ServiceRequest) -> Response:
    with _turn:
        return dispatch_to_moto(context)


@aws_provider(api="dynamodb", name="moto")
def provider() -> Service:
    """`DynamodbApi` implements nothing, so every operation falls through to moto."""
    return Service.for_provider(
        DynamodbApi(), dispatch_table_factory=lambda api: ForwardingFallbackDispatcher(api, _answer)
    )
