"""A real browser for the tests of the site, over HTTP below some path and from its folder."""

import functools
import http.server
import shutil
import threading
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to look with")

OTHER = {"light": "dark", "dark": "light"}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 800}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def serving(site, handler=Quiet):
    """Address of a site on a server, below a path that it knows nothing of."""
    answering = functools.partial(handler, directory=str(site.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{site.name}"
        server.shutdown()


class Watched:
    """Pages, and what went wrong on them."""

    def __init__(self, browser, home, **options):
        self.context = browser.new_context(**options)
        self.wrong = []
        self.context.on("weberror", lambda error: self.wrong.append(str(error.error)))
        self.context.on("requestfailed", self.note_failed)
        self.context.on("request", lambda request: self.note_elsewhere(home, request))
        self.context.on(
            "console", lambda line: line.type == "error" and self.wrong.append(line.text)
        )

    def note(self, problem, request):
        self.wrong.append(f"{problem}: {request.url}")

    def note_failed(self, request):
        # Who leaves a page cuts off what it still loads.
        if request.failure != "net::ERR_ABORTED":
            self.note("failed", request)

    def note_elsewhere(self, home, request):
        if not request.url.startswith((home, "data:", "blob:")):
            self.note("elsewhere", request)

    def open(self, address):
        (page,) = self.open_together([address])
        return page

    def open_together(self, addresses):
        """Pages that are loaded at the same time, each in a tab."""
        tabs = [self.context.new_page() for _ in addresses]
        for tab, address in zip(tabs, addresses, strict=True):
            tab.goto(address, wait_until="commit")
        for tab in tabs:
            tab.wait_for_load_state("networkidle")
        return tabs
