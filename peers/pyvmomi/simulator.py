"""vsphere-sim as a child process, a session of pyvmomi with it, and named checks that run one by one."""

import json
import os
import pathlib
import secrets
import ssl
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import urllib.request

from pyVim.connect import SmartConnect

USER = "peer@vsphere.local"
START_SECONDS = 120
# Options of a vCenter's inventory, with a number behind each: a host by itself has one of everything.
OF_A_CENTER = ("--datacenters", "--clusters", "--hosts", "--pools", "--folders")


class Simulator:
    """The simulator as a child process. Its output names where it listens.

    The environment's VSPHERE_SIM_OPTIONS holds further options of it, such as another style of the wire. With `--esxi` among
    them it is a host by itself, for which checks have to allow.
    """

    KEYS = ("url", "control", "sha1", "sha256")

    def __init__(self, program, data, *options):
        self.password = secrets.token_hex(12)
        more = os.environ.get("VSPHERE_SIM_OPTIONS", "").split()
        self.is_host = "--esxi" in more
        if self.is_host:
            options = without_center(options)
        command = [program, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", *options, *more]
        command += ["--data", data, "--user", USER, "--password-env", "PEER_PASSWORD"]
        environment = dict(os.environ, PEER_PASSWORD=self.password)
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        said = {}
        for line in self.process.stdout:
            key, _, value = line.strip().partition(" ")
            said[key] = value
            if all(key in said for key in self.KEYS):
                break
        timer.cancel()
        missing = [key for key in self.KEYS if key not in said]
        if missing:
            self.__exit__()
            raise RuntimeError(f"vsphere-sim did not say its {', '.join(missing)} within {START_SECONDS} s")
        self.url, self.control = urllib.parse.urlsplit(said["url"]), said["control"]
        self.sha256 = said["sha256"]
        # Whatever it says later is of no interest, but the pipe must not fill up.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def guest_write(self, machine, key, offset, length, seed, force=False):
        self.tell("guest-write", vm=machine._moId, disk=key, offset=offset, length=length, seed=seed, force=force)

    def digest(self, machine, key, snapshot=None):
        """SHA-256 of all bytes of a disk, as it is or as it was at a snapshot."""
        query = {"vm": machine._moId, "disk": key}
        if snapshot is not None:
            query["snapshot"] = snapshot._moId
        with urllib.request.urlopen(f"{self.control}/v1/disk-extents?{urllib.parse.urlencode(query)}") as answer:
            return json.load(answer)["sha256"]

    def tell(self, what, **body):
        """Asks the control port."""
        request = urllib.request.Request(
            f"{self.control}/v1/{what}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            expect(200 <= answer.status < 300, f"{what} answered {answer.status}")
            return json.load(answer)

    def log_in(self, password=None, user=USER):
        """pyvmomi pins the certificate itself when it is told the thumbprint; its own chain check has no root for it."""
        return SmartConnect(
            host=self.url.hostname,
            port=self.url.port,
            user=user,
            pwd=self.password if password is None else password,
            thumbprint=self.sha256,
            sslContext=ssl._create_unverified_context(),
        )


def without_center(options):
    """The options but for those of a vCenter's inventory."""
    kept, rest = [], iter(options)
    for option in rest:
        if option in OF_A_CENTER:
            next(rest)
        else:
            kept.append(option)
    return kept


def run_checks(checks, wanted, missing_files, *arguments):
    """Calls each check, or those whose names are wanted, and prints how it went. True if all did as they should.

    The files name checks that are known to fail because the server lacks something, one a line, text after `#` aside. A
    name in them that passes is a failure too, and so is one that no check has.
    """
    lines = [line for file in missing_files for line in pathlib.Path(file).read_text(encoding="utf-8").splitlines()]
    known = {line.partition("#")[0].strip() for line in lines} - {""}
    where = " and ".join(pathlib.Path(file).name for file in missing_files)
    passed, missing, failed = 0, 0, 0
    for name in sorted(known - {check.__name__ for check in checks}):
        failed += 1
        print(f"FAIL {name}: is named in {where}, and there is no such check")
    for check in checks:
        if wanted and check.__name__ not in wanted:
            continue
        name, began = check.__name__, time.monotonic()
        try:
            check(*arguments)
        except Exception as error:  # Whatever a client trips over is what is looked for.
            lacking = name in known
            missing, failed = missing + lacking, failed + (not lacking)
            print(f"{'lack' if lacking else 'FAIL'} {name}: {described(error)}")
        else:
            lacking = name in known
            passed, failed = passed + (not lacking), failed + lacking
            print(f"FAIL {name}: passes, take it out of {where}" if lacking else
                  f"ok   {name} ({time.monotonic() - began:.1f} s)")
        sys.stdout.flush()
    print(f"{passed} passed, {failed} failed, {missing} known to be lacking")
    return failed == 0


def described(error):
    """An exception on one line, with the line of the check that it came from. Faults of pyvmomi print as whole objects."""
    said = getattr(error, "msg", None) or str(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    place = f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    line = frames[-2].lineno if len(frames) > 2 and frames[-1].name in ("expect", "expect_fault") else None
    return f"{type(error).__name__} at {place}{f' from {line}' if line else ''}: {' '.join(said.split())[:300]}"


def expect(holds, otherwise):
    if not holds:
        raise AssertionError(otherwise)


def expect_fault(kind, call):
    """The fault of that kind, which the call has to end with."""
    try:
        call()
    except kind as fault:
        return fault
    raise AssertionError(f"{getattr(kind, '__name__', kind)} was expected, and the call succeeded")
