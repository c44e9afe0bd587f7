"""Starts a devstack and drives it from outside: with the snippets of docs/snippets, and with schemathesis.

A snippet runs if its language is on this machine; what it needs is installed below .tools/snippets.
"""

import base64
import collections
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools/snippets"
ZOOM_USER = "UserAdaBerg00000000001"
# App user whom schemathesis acts for: Python's snippet has linked it.
USER = "python-user"
FUNCTIONS = ["connect_url", "confirm", "recordings", "verify"]

Language = collections.namedtuple("Language", "binary file functions prepare main command")

GO_MAIN = """package main

import (
	"encoding/json"
	"example/reelay"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	log.SetFlags(0)
	text := func(place int) (value string) { json.Unmarshal([]byte(os.Args[place]), &value); return }
	var result any
	var err error
	switch os.Args[1] {
	case "ConnectURL":
		text, _ := json.Marshal(reelay.ConnectURL(text(2)))
		result = string(text)
	case "Confirm":
		result, err = reelay.Confirm(text(2), text(3))
	case "Recordings":
		result, err = reelay.Recordings(text(2))
	case "Verify":
		headers, values := http.Header{}, map[string]string{}
		json.Unmarshal([]byte(os.Args[2]), &values)
		for name, value := range values {
			headers.Set(name, value)
		}
		result, err = "null", reelay.Verify(headers, []byte(text(3)))
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result)
}
"""

# How each language calls one function of its snippet, with JSON arguments. Rust's runs in `tests/e2e/suite/openapi`.
LANGUAGES = {
    "python": Language(
        binary=sys.executable,
        file="reelay.py",
        functions=FUNCTIONS,
        prepare=[],
        main=("main.py", "import json, sys, reelay\n"
              "print(json.dumps(getattr(reelay, sys.argv[1])(*map(json.loads, sys.argv[2:]))))"),
        command=[sys.executable, "main.py"],
    ),
    "node": Language(
        binary="node",
        file="reelay.mjs",
        functions=["connectUrl", "confirm", "recordings", "verify"],
        prepare=[],
        main=("main.mjs", 'import * as reelay from "./reelay.mjs";\nconst [name, ...values] = process.argv.slice(2);\n'
              "console.log(JSON.stringify((await reelay[name](...values.map((it) => JSON.parse(it)))) ?? null));"),
        command=["node", "main.mjs"],
    ),
    "ruby": Language(
        binary="gem",
        file="reelay.rb",
        functions=FUNCTIONS,
        prepare=["gem", "install", "--silent", "--no-document", "--install-dir", ".", "jwt:3.1.2", "standardwebhooks:1.1.0"],
        main=("main.rb", 'require "json"\nrequire "./reelay"\n'
              "puts send(ARGV[0], *ARGV.drop(1).map { JSON.parse(_1) }).to_json"),
        command=["env", "GEM_HOME=.", "ruby", "main.rb"],
    ),
    "php": Language(
        binary="composer",
        file="reelay.php",
        functions=["connectUrl", "confirm", "recordings", "verify"],
        prepare=["composer", "require", "--quiet", "--no-interaction", "firebase/php-jwt:7.0.5",
                 "standard-webhooks/standard-webhooks:1.0.2"],
        main=("main.php", "<?php require 'vendor/autoload.php'; require 'reelay.php';\n"
              "echo json_encode($argv[1](...array_map(fn($it) => json_decode($it, true), array_slice($argv, 2))));"),
        command=["php", "main.php"],
    ),
    "go": Language(
        binary="go",
        file="reelay.go",
        functions=["ConnectURL", "Confirm", "Recordings", "Verify"],
        prepare=["sh", "-c", "test -f go.mod || go mod init example; go get github.com/golang-jwt/jwt/v5@v5.3.1 "
                 "github.com/go-resty/resty/v2@v2.16.2 "
                 "github.com/standard-webhooks/standard-webhooks/libraries@v0.0.1"],
        main=("main.go", GO_MAIN),
        command=["go", "run", "."],
    ),
}


class App(http.server.BaseHTTPRequestHandler):
    """The app's endpoint for notifications."""

    received = queue.Queue()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        App.received.put((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def call(method, url, body=None, headers={}):
    """Sends one request, without following redirects."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request(method, parts.path + "?" + parts.query, body and json.dumps(body),
                       {"content-type": "application/json", **headers})
    response = connection.getresponse()
    return response, response.read()


def consent(connect_url):
    """Follows the button to Zoom and back, as a browser does, and returns the claim."""
    response, _ = call("GET", connect_url)
    cookie = response.getheader("set-cookie").split(";")[0]
    authorize = f"{response.getheader('location')}&sim_decision=allow&sim_user={ZOOM_USER}"
    response, _ = call("GET", authorize)
    response, _ = call("GET", response.getheader("location"), headers={"cookie": cookie})
    query = urllib.parse.urlsplit(response.getheader("location")).query
    return urllib.parse.parse_qs(query)["zoom_link"][0]


def check(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}")


def run_snippet(name, language, stack, environment):
    folder = TOOLS / name
    folder.mkdir(parents=True, exist_ok=True)
    installed = folder / "installed"
    if language.prepare and (not installed.exists() or installed.read_text() != str(language.prepare)):
        if subprocess.run(language.prepare, cwd=folder).returncode != 0:
            print(f"snippet {language.file}: not run, its libraries could not be installed")
            return
        installed.write_text(str(language.prepare))
    # Go has one package a folder.
    package = folder / "reelay" if name == "go" else folder
    package.mkdir(exist_ok=True)
    shutil.copy(ROOT / "docs/snippets" / language.file, package)
    (folder / language.main[0]).write_text(language.main[1])

    def snippet(function, *arguments):
        called = language.functions[FUNCTIONS.index(function)]
        command = [*language.command, called, *map(json.dumps, arguments)]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    def result(function, *arguments):
        done = snippet(function, *arguments)
        check(done.returncode == 0, f"{name}: {function}: {done.stderr}")
        return json.loads(done.stdout)

    user = f"{name}-user"
    link = result("confirm", user, consent(result("connect_url", user)))
    check(link["status"] == "active", f"{name}: the link is {link}")
    topic = f"A recording for {name}"
    call("POST", f"{stack.simulator}/_sim/recordings", {"host_id": ZOOM_USER, "topic": topic})
    stack.settle()
    topics = [recording["topic"] for recording in result("recordings", user)["recordings"]]
    check(topic in topics, f"{name}: {topics} does not contain {topic}")
    headers, body = next(it for it in stack.notifications() if json.loads(it[1])["data"]["app_user_id"] == user)
    headers = {key.lower(): value for key, value in headers.items()}
    result("verify", headers, body)
    check(snippet("verify", headers, body + " ").returncode != 0, f"{name}: an altered notification is accepted")
    print(f"snippet {language.file}: linked, confirmed, listed, verified; an altered notification is rejected")


class Stack:
    def __init__(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hook = f"AppWebhookUrl=http://127.0.0.1:{server.server_port}/hook"
        self.process = subprocess.Popen([os.environ["DEVSTACK"], "--param", hook, "--param", "ZoomVerificationCode=0123-abc_DEF"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().removeprefix("ready ").strip()
        check(self.url, "the devstack did not start")
        self.config = json.loads(call("GET", f"{self.url}/_dev/config")[1])
        self.simulator = self.config["stack"]["parameters"]["ZoomOAuthUrl"].rstrip("/")

    def settle(self):
        """Waits until the queues are idle."""
        call("POST", f"{self.url}/_dev/clock", {"advance_seconds": 0})

    def notifications(self):
        while not App.received.empty():
            yield App.received.get()

    def environment(self):
        outputs, secrets = self.config["stack"]["outputs"], self.config["secrets"]
        return {**os.environ, "REELAY_API_URL": outputs["ApiUrl"], "REELAY_CONNECT_URL": outputs["ConnectUrl"],
                "REELAY_APP_SECRET": secrets["app_secret"],
                "REELAY_NOTIFICATION_SECRET": "whsec_" + secrets["notification_secret"]}

    def api_token(self, user):
        encode = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=").decode()
        now = int(time.time())
        claims = {"sub": user, "aud": "reelay:api", "iat": now, "exp": now + 900}
        signed = encode(b'{"alg":"HS256"}') + "." + encode(json.dumps(claims).encode())
        key = self.config["secrets"]["app_secret"].encode()
        return signed + "." + encode(hmac.digest(key, signed.encode(), hashlib.sha256))


def main():
    stack = Stack()
    try:
        for name, language in LANGUAGES.items():
            if shutil.which(language.binary):
                run_snippet(name, language, stack, stack.environment())
            else:
                print(f"snippet {language.file}: not run, {language.binary} is not installed")
        token = f"Authorization: Bearer {stack.api_token(USER)}"
        recordings, links = (json.loads(call("GET", f"{stack.url}/v1/{path}", headers={"authorization": token[15:]})[1])
                             for path in ("recordings", "links"))
        ids = {"RECORDING_ID": recordings["recordings"][0]["id"], "LINK_ID": links["links"][0]["id"]}
        schemathesis = [pathlib.Path(sys.executable).with_name("schemathesis"), "--config-file",
                        ROOT / "tests/api/schemathesis.toml", "run", ROOT / "docs/openapi.yaml", "--url", stack.url,
                        "--header", token]
        # It leaves a cache in its working directory.
        tested = subprocess.run(schemathesis, env={**os.environ, **ids}, cwd=TOOLS)
        check(tested.returncode == 0, "schemathesis")
    finally:
        stack.process.terminate()
        stack.process.wait()


main()
