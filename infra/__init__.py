"""One deploy for three clouds: `python -m infra up --stage local|dev|prod`.

AWS_ENDPOINT_URL alone decides where that goes: unset is AWS, anything else is a cloud on this machine.
Nothing here imports app.py; Chalice does, in a process of its own, to turn it into a template. Of chalicelib only
`keys` takes something: how the public key of receipts follows from their secret.
"""
