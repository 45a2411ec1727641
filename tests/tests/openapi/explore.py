"""Calls the operations of the OpenAPI document that a daemon serves on its socket with requests that schemathesis
makes from the document, right ones and wrong ones, and holds every answer against it.

    explore.py SOCKET EXAMPLES [OPERATION...]

Prints how many answers of each status there were; ends with 1 where an answer is none that is documented, or a
failure of the daemon's."""

import json
import socket
import sys
from collections import Counter

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from requests import Session
from requests.adapters import HTTPAdapter
from schemathesis.checks import not_a_server_error
from schemathesis.core.errors import SchemathesisError
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

SOCKET, EXAMPLES, WANTED = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
URL = "http://localhost"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
]
# These answer when something happens, or go on for ever.
ENDLESS = {"approvals_follow", "events", "watch_files"}
PATIENT = {"wait", "follow"}
# What a submission may name and nobody has, or says in two ways.
UNLIKELY = {"changes", "language", "policy", "session", "source"}


class Connection(HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(SOCKET)


class Pool(HTTPConnectionPool):
    ConnectionCls = Connection


class Adapter(HTTPAdapter):
    pool = Pool("localhost", maxsize=4)

    def get_connection_with_tls_context(self, *_, **__):
        return self.pool


session = Session()
session.trust_env = False
session.mount("http://", Adapter())


def made(path, **body):
    answer = session.post(URL + path, json=body, timeout=60)
    assert answer.ok, answer.text
    return answer.json()["id"]


document = session.get(URL + "/v1/openapi.json", timeout=60).json()
schema = schemathesis.openapi.from_dict(document)
home = made("/v1/sessions")
interpreter = made(f"/v1/sessions/{home}/interpreters", language="python")
executed = made(
    "/v1/executions",
    argv=["sh", "-c", "echo hello | tee a"],
    session=home,
    artifacts={"globs": ["a"]},
    wait=True,
)
# What there is, for requests that get further than to a name that nobody has.
KNOWN = {
    "/v1/executions/": {"id": executed, "path": "a"},
    "/v1/sessions/": {"id": home, "path": "a", "interpreter": interpreter, "number": 1},
}
# These would be its end.
LAST = {"close_interpreter", "close_session", "extend_session", "interrupt_interpreter", "remove", "remove_file"}
failures, statuses = {}, {}


def explore(operation, mode, path):
    name = operation.definition.raw["operationId"]
    counts = statuses.setdefault(name, Counter())

    @settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(mode, **path))
    def call(case):
        # Waiting is not what is looked at.
        if isinstance(case.query, dict):
            case.query = {key: value for key, value in case.query.items() if key not in PATIENT}
        if isinstance(case.body, dict) and case.body.get("wait"):
            case.body["wait"] = False
        if name == "submit" and mode is GenerationMode.POSITIVE:
            case.body = {key: value for key, value in case.body.items() if key not in UNLIKELY}
            case.body["argv"] = ["true"]
        answer = case.call(base_url=URL, session=session, timeout=60)
        counts[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    try:
        call()
    except Unsatisfiable:
        # An operation that takes nothing has no wrong requests.
        assert mode is GenerationMode.NEGATIVE, name
    except (FailureGroup, SchemathesisError, OSError) as wrong:
        failures.setdefault(name, wrong)


for found in schema.get_all_operations():
    operation = found.ok()
    name = operation.definition.raw["operationId"]
    if name in ENDLESS or WANTED and name not in WANTED:
        continue
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        explore(operation, mode, {})
        known = next((it for start, it in KNOWN.items() if operation.path.startswith(start)), {})
        known = {key: value for key, value in known.items() if f"{{{key}}}" in operation.path}
        if known and name not in LAST:
            explore(operation, mode, {"path_parameters": known})

# What the daemon keeps for sessions goes with them.
while opened := session.get(URL + "/v1/sessions", timeout=60).json()["sessions"]:
    for each in opened:
        session.delete(f"{URL}/v1/sessions/{each['id']}", timeout=60).raise_for_status()

for name, counts in statuses.items():
    print(name, json.dumps(dict(sorted(counts.items()))))
for name, wrong in failures.items():
    print(f"\n{name}: {wrong}", *getattr(wrong, "exceptions", []), sep="\n", file=sys.stderr)
sys.exit(bool(failures))
