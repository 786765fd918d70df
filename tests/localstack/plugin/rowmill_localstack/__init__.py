"""What LocalStack needs to run our stack on a machine without Docker: a sandbox for functions and a DynamoDB.

The one thing to know: both are found by entry points and named in LocalStack's own settings,
LAMBDA_RUNTIME_EXECUTOR=process and PROVIDER_OVERRIDE_DYNAMODB=moto. All else is LocalStack as it comes, but for its
KMS on Python 3.11, which would make no key.
"""
