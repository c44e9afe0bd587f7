"""What the run on the emulator and the trial on AWS share: steps, child processes, SAM, the operator's tool."""

import json
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from .cloud import until
from .zoom import Zoom

ROOT = Path(__file__).parents[3]
TOOLS = ROOT / ".tools"
ZOOM = ROOT / "target/debug/zoom-sim"
REELAY = ROOT / "target/debug/reelay"


class Driver:
    """Subclasses set `cloud`, `resources` and `template` when the stack is deployed, and implement `environment`."""

    def __init__(self, work):
        self.work = work
        self.started_at = time.monotonic()
        self._processes = []

    def environment(self):
        """Returns the environment of SAM and of the operator's tool: credentials, region, endpoint."""
        raise NotImplementedError

    def reelay_options(self):
        return []

    @contextmanager
    def step(self, title):
        started_at = time.monotonic()
        yield
        print(f"{time.monotonic() - started_at:7.1f} s  {title}", flush=True)

    def start_zoom(self, *credentials):
        zoom = Zoom(ZOOM, self.work / "zoom.log", *credentials)
        self._processes.append(zoom.process)
        self.zoom = zoom.use_url(until("the simulator", zoom.address))

    def stop(self):
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)

    def sam(self, *arguments):
        with open(self.work / f"sam-{arguments[0]}.log", "w", encoding="utf-8") as log:
            command = [TOOLS / "sam/bin/sam", *arguments, "--region", self.cloud.region]
            subprocess.run(command, cwd=ROOT, env=self.environment(), stdout=log, stderr=log, check=True)

    def reelay(self, *arguments):
        """Runs the operator's tool and returns its JSON output lines."""
        command = [REELAY, "--stack", self.cloud.stack, *self.reelay_options(), "--json", *arguments]
        with open(self.work / "reelay.log", "a", encoding="utf-8") as log:
            done = subprocess.run(command, env=self.environment(), stdout=subprocess.PIPE, stderr=log, text=True)
            log.write(done.stdout)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 0, f"reelay {arguments[0]}: {done.returncode}, {lines}"
        return lines

    @contextmanager
    def reconfigured(self, function, timeout=None, **variables):
        """Temporarily changes the timeout, in seconds, and the environment variables of a function."""
        configuration = self.cloud.client("lambda")
        name = self.resources[function]
        before = configuration.get_function_configuration(FunctionName=name)

        def update(seconds, values):
            configuration.update_function_configuration(
                FunctionName=name, Timeout=seconds, Environment={"Variables": values}
            )
            self.cloud.function_updated(name)

        update(timeout or before["Timeout"], before["Environment"]["Variables"] | variables)
        yield
        update(before["Timeout"], before["Environment"]["Variables"])

    def retained(self):
        """Returns the logical ids of the resources that stay when the stack is deleted."""
        every = self.template["Resources"].items()
        return [name for name, resource in every if resource.get("DeletionPolicy") == "RetainExceptOnCreate"]
