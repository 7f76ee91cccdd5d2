"""Fuzzes the HTTP API from its own OpenAPI document, against a server with data: `./x fuzz-api` calls this.

Nothing that can be asked may be answered by a 5xx, by a status, a type or a body that the document does not know.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]


def start(dacapo, data, guests):
    """A server with a database of its own. Answers the process and the server's URL."""
    command = [dacapo, "dev", "--data-dir", data, "--listen", "127.0.0.1:0", "--requests-per-second", "0", *guests]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    url = None
    for line in process.stderr:
        found = re.search(r"listening on (http://[^;]+);", line)
        url = found.group(1) if found else url
        if "ready; stop with" in line:
            return process, url
    sys.exit(f"error: `dacapo dev` ended with {process.wait()}")


class Api:
    def __init__(self, url):
        self.base = url + "/api/v1"

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def seed(self):
        """Runs in all states, a schedule, a queue. Answers values for parameters of paths."""
        start = lambda workflow, value=None, **more: self.ask("POST", "/runs", {"workflow": workflow, "input": value, **more})["run"]
        self.ask("PATCH", "/queues/mail", {"concurrency": 2})
        done = start("counted-steps", 3, labels={"tier": "gold"})
        failed = start("flaky", {"bad": 9, "attempts": 1, "backoffMs": 1, "how": "fatal"})
        waiting = [start("step-wait-step", labels={"tier": "gold"}) for _ in range(5)]
        start("counted-steps", 1, queue="mail", delayMs=3_600_000)
        self.ask("POST", "/runs/batch", {"workflow": "counted-steps", "starts": [{"input": n % 5} for n in range(100)]})
        for run in (done, failed):
            self.ask("GET", f"/runs/{run}/wait")
        self.ask("POST", f"/runs/{waiting[0]}/pause")
        self.ask("POST", f"/runs/{waiting[1]}/cancel", {"force": True})
        self.ask("POST", "/schedules", {"name": "nightly", "workflow": "counted-steps", "input": 1, "everySeconds": 3600})
        return {
            "run": [done, failed, *waiting, "01938e60-5a1c-7cc0-9d2f-3b8f0a6c41d7"],
            "workflow": ["counted-steps", "step-wait-step"],
            "queue": ["mail"],
            "schedule": ["nightly"],
            "package": ["probe", "test:probe"],
        }


def prepared(document, known):
    """The document for the fuzzer: paths lead to what is there more often than not, and nothing waits for long."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                name = parameter["name"]
                if parameter["in"] == "path" and name in known:
                    parameter["schema"] = {"anyOf": [{"enum": known[name]}, parameter["schema"]]}
                if name == "timeoutMs":
                    parameter["schema"]["maximum"] = 20
    return document


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dacapo", required=True)
    parser.add_argument("--seconds", type=int, default=75)
    parser.add_argument("--seed", type=int)
    parser.add_argument("guests", nargs="+")
    options = parser.parse_args()
    tools = pathlib.Path(sys.executable).parent
    # A server that is started by root runs as another user, who must get there.
    with tempfile.TemporaryDirectory(prefix="dacapo-fuzz-api-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        process, url = start(options.dacapo, str(directory / "data"), options.guests)
        try:
            api = Api(url)
            document = api.ask("GET", "/openapi.json")
            (directory / "openapi.json").write_text(json.dumps(document))
            subprocess.run([tools / "openapi-spec-validator", "--schema", "3.1", directory / "openapi.json"], check=True)
            known = api.seed()
            fuzzed = directory / "fuzzed.json"
            fuzzed.write_text(json.dumps(prepared(document, known)))
            command = [
                tools / "schemathesis", "run", fuzzed, "--url", api.base,
                "--checks", ",".join(CHECKS),
                "--exclude-tag", "streams",
                "--max-time", str(options.seconds),
                "--continue-on-failure", "--request-timeout", "60",
                "--suppress-health-check", "all", "--warnings", "off",
                "--no-color" if not sys.stdout.isatty() else "--force-color",
            ]
            command += [] if options.seed is None else ["--seed", str(options.seed)]
            began = time.monotonic()
            result = subprocess.run(command, cwd=directory)
            # What was done must not have broken anything.
            api.ask("GET", "/stats")
            print(f"fuzzed for {time.monotonic() - began:.0f} s", file=sys.stderr)
            sys.exit(result.returncode)
        finally:
            process.terminate()
            process.wait(timeout=60)


if __name__ == "__main__":
    main()
