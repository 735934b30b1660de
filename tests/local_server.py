"""A server on this machine that answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """Answers by path; ``asked`` records what was asked for."""

    url: str = ""
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    """Answers to give before any other."""

    def body(self, path: str, content: bytes, announce: int | None = None) -> None:
        """Answer ``path`` with ``content``; ``announce`` is a false Content-Length, -1 none."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            if announce != -1:
                handler.send_header("Content-Length", str(len(content) if announce is None else announce))
            handler.end_headers()
            handler.wfile.write(content)

        self.answers[path] = answer

    def redirect(self, path: str, to: str) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", to)
            handler.end_headers()

        self.answers[path] = answer


@contextmanager
def serving() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            answer = state.answers.get(self.path)
            if state.status or answer is None:
                self.send_error(state.status.pop(0) if state.status else 404)
            else:
                with suppress(OSError):  # the client left
                    answer(self)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()
