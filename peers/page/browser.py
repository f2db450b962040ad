"""Chromium without a window, driven over its DevTools protocol."""

import base64
import itertools
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

import websocket

WAIT_SECONDS = 20
# Without these, Chromium asks for hosts of its maker at every start.
QUIET = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-extensions", "--disable-default-apps", "--metrics-recording-only", "--no-default-browser-check"]


class Browser:
    """A browser with a profile of its own. `names` are host names that it is to find on this machine."""

    def __init__(self, *names):
        self.profile = tempfile.mkdtemp(prefix="page-peer-")
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *QUIET,
                   f"--user-data-dir={self.profile}", "--remote-debugging-port=0", "--hide-scrollbars"]
        if names:
            command.append("--host-resolver-rules=" + ",".join(f"MAP {name} 127.0.0.1" for name in names))
        self.process = subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = pathlib.Path(self.profile, "DevToolsActivePort")
        self.port = until(lambda: told.exists() and told.read_text(encoding="ascii").split("\n")[0], "Chromium does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def tab(self):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            return Tab(json.load(answer)["webSocketDebuggerUrl"])


class Tab:
    """A page, with all that went wrong on it and all that it has asked for."""

    def __init__(self, address):
        self.socket = websocket.create_connection(address, timeout=WAIT_SECONDS, suppress_origin=True)
        self.numbers = itertools.count(1)
        self.problems, self.requests = [], []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.tell(f"{domain}.enable")

    def tell(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.note(message)

    def note(self, message):
        what, told = message.get("method"), message.get("params", {})
        if what == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif what == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(argument.get("value")) for argument in told["args"]))
        elif what == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif what == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    def open(self, url):
        self.tell("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'", f"{url} does not load")

    def run(self, script):
        """The value of an expression on the page, which may be a promise."""
        told = self.tell("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise AssertionError(f"{script}: {told['exceptionDetails'].get('exception', {}).get('description')}")
        return told["result"].get("value")

    def until(self, script, otherwise):
        try:
            return until(lambda: self.run(f"!!({script})"), otherwise)
        except AssertionError as error:
            raise AssertionError(f"{error}; the console says {self.problems}") from error

    def click(self, selector):
        """Presses the mouse in the middle of an element, as a person would."""
        place = self.run(f"""(() => {{
            const found = document.querySelector({json.dumps(selector)});
            if (!found) return null;
            found.scrollIntoView({{ block: "center" }});
            const box = found.getBoundingClientRect();
            const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
            const hit = document.elementFromPoint(x, y);
            return {{ x, y, hit: found === hit || found.contains(hit) }};
        }})()""")
        if not place or not place["hit"]:
            raise AssertionError(f"{selector} is {'covered' if place else 'missing'}")
        for what in ("mousePressed", "mouseReleased"):
            self.tell("Input.dispatchMouseEvent", type=what, x=place["x"], y=place["y"], button="left", clickCount=1)

    def write(self, selector, text):
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.tell("Input.insertText", text=text)

    def press(self, key):
        code = {"Enter": 13, "ArrowDown": 40, "ArrowRight": 39, "ArrowLeft": 37, "ArrowUp": 38}[key]
        for what in ("keyDown", "keyUp"):
            self.tell("Input.dispatchKeyEvent", type=what, key=key, code=key, windowsVirtualKeyCode=code)

    def look(self, width, dark=False, height=900):
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.tell("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path, whole=False):
        told = self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(told["data"]))


def until(holds, otherwise):
    """Waits until something holds, and answers it."""
    end = time.monotonic() + WAIT_SECONDS
    while not (found := holds()):
        if time.monotonic() > end:
            raise AssertionError(f"{otherwise} within {WAIT_SECONDS} s")
        time.sleep(0.05)
    return found


def origin_of(url):
    split = urllib.parse.urlsplit(url)
    return f"{split.scheme}://{split.netloc}"
