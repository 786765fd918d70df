"""A smoke test on genuine LocalStack: `make test-localstack`. It has a venv of its own and is not part of `make test`."""
