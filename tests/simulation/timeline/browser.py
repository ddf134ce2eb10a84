"""A real Chromium without a window, spoken to over two pipes: no port, no driver, no package.

The browser ends by itself as soon as its pipe is closed, so nothing of it stays behind.
"""

import base64
import json
import os
import selectors
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it opens one file that this test has made; as root there is no other way
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)
HAND_OVER = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
"""It takes commands from its file 3, and answers on its file 4."""
ANSWER_SECONDS = 10.0


def find_browser():
    """The path of a Chromium or Chrome, or None. ``CHROME_BIN`` names another one."""
    named = os.environ.get("CHROME_BIN", "")
    return shutil.which(named) or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in one browser; a context manager.

    Attributes:
        errors: what the console and the page complained about so far.
    """

    def __init__(self, path, folder, *, width=1400, height=1100):
        self.errors = []
        self._number = 0
        self._buffer = b""
        self._answers = {}
        self._events = []
        self._session = None
        arguments = (*FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}")
        self._process = subprocess.Popen(
            ("/bin/sh", "-c", HAND_OVER, path, *arguments, "about:blank"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._write, self._read = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._read, selectors.EVENT_READ)

    def __enter__(self):
        try:
            targets = self.command("Target.getTargets")["targetInfos"]
            page = next(target for target in targets if target["type"] == "page")
            attached = self.command(
                "Target.attachToTarget", targetId=page["targetId"], flatten=True
            )
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                self.command(f"{domain}.enable")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closing its pipe ends it; if it does not end, it is killed by its process id."""
        self._selector.close()
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(ANSWER_SECONDS)

    def command(self, method, **parameters):
        """One command of the DevTools protocol, and its answer."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        number = self._number
        self._pump(lambda: number in self._answers, method)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, path):
        """Load a file and wait until it is there."""
        self._events.clear()
        self.command("Page.navigate", url=path.as_uri())
        self._pump(lambda: "Page.loadEventFired" in self._events, "loading the page")

    def evaluate(self, expression):
        """What a JavaScript expression gives, as plain data; promises are awaited."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer.get("exceptionDetails")
        return answer["result"].get("value")

    def settle(self):
        """Until everything that was asked for is drawn: two frames later."""
        self.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
        )

    def mouse(self, kind, x, y, **more):
        """A real event of the mouse."""
        self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, x0, y0, x1, y1):
        """Press, move, let go."""
        self.mouse("mousePressed", x0, y0, button="left", clickCount=1, buttons=1)
        self.mouse("mouseMoved", (x0 + x1) / 2, (y0 + y1) / 2, button="left", buttons=1)
        self.mouse("mouseMoved", x1, y1, button="left", buttons=1)
        self.mouse("mouseReleased", x1, y1, button="left", clickCount=1)
        self.settle()

    def click(self, x, y):
        """Press and let go."""
        self.mouse("mousePressed", x, y, button="left", clickCount=1, buttons=1)
        self.mouse("mouseReleased", x, y, button="left", clickCount=1)
        self.settle()

    def wheel(self, x, y, by):
        """Turn the wheel."""
        self.mouse("mouseWheel", x, y, deltaX=0, deltaY=by)
        self.settle()

    def key(self, key):
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.command("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.command("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def screenshot(self, path):
        """What is to be seen, as a PNG file."""
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))

    def _pump(self, done, what):
        deadline = time.monotonic() + ANSWER_SECONDS
        while not done():
            left = deadline - time.monotonic()
            assert left > 0, f"the browser did not answer in time: {what}"
            assert self._selector.select(left), f"the browser was silent: {what}"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, f"the browser has gone: {what}"
            *whole, self._buffer = (self._buffer + chunk).split(b"\0")
            for text in whole:
                self._take(json.loads(text))

    def _take(self, message):
        if "id" in message:
            self._answers[message["id"]] = message
            return
        method, parameters = message["method"], message["params"]
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        if method == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning"}:
            self.errors.append(str(parameters["args"]))
        if method == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
            self.errors.append(parameters["entry"]["text"])
