"""Serves one page that says that the kiosk is out of service, and ends after some minutes.

It stands at the address of the kiosk, so that the browser need know nothing. It is run by the
system's own Python and loads nothing of edgehemo: that is what may be broken.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import sys
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# After so long the kiosk is tried again; the page asks so often whether it is there.
SERVED_S = 180
RELOAD_S = 5
HOST = "127.0.0.1"

# The page stays until there is another at its address: to load it anew each time would have it read
# out again, and would end at the browser's own page where nothing answers for a moment.
SCRIPT = f"""setInterval(async () => {{
  try {{
    const answer = await fetch(location.href, {{ cache: "no-store" }});
    if (answer.status !== 503) location.reload();
  }} catch {{ /* Nothing answers yet. */ }}
}}, {1000 * RELOAD_S});"""
ONLY_THIS = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{ONLY_THIS}'; "
    "connect-src 'self'"
)

PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>
<noscript><meta http-equiv="refresh" content="{reload}"></noscript>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; min-height: 100vh; display: flex; align-items: center; justify-content: center;
  font: 22px/1.4 "DejaVu Sans", sans-serif; }}
main {{ max-width: 34em; padding: 24px; }}
h1 {{ font-size: 30px; margin: 0 0 16px; }}
p {{ margin: 0 0 14px; }}
.fact {{ font-size: 15px; }}
</style></head>
<body data-screen="out-of-service"><main>
<div role="alert"><h1>{title}</h1><p>{meaning}</p><p>{action}</p></div><p class="fact">{fact}</p>
</main><script>{script}</script></body></html>
"""


def language_of(configuration: Path) -> str:
    """The language of the device's settings; English where they cannot be read."""
    try:
        kiosk = tomllib.loads(configuration.read_text("utf-8")).get("kiosk", {})
        return str(kiosk.get("language", "en"))
    except (OSError, ValueError, AttributeError):
        return "en"


def fact_of(ended: Path) -> str:
    """How the kiosk ended, for whoever looks after the device."""
    try:
        said = " ".join(ended.read_text("ascii", "replace")[:80].split())
    except OSError:
        said = ""
    return f"edgehemo-kiosk: {said or 'did not start'}"


def page(words: dict[str, dict[str, str]], language: str, fact: str) -> bytes:
    """The page in a language, in English where it has no words of it."""
    known = language if language in words else "en"
    texts = {name: html.escape(text) for name, text in words[known].items()}
    whole = PAGE.format(
        language=known, reload=RELOAD_S, script=SCRIPT, fact=html.escape(fact), **texts
    )
    return whole.encode("utf-8")


def handler(content: bytes) -> type[BaseHTTPRequestHandler]:
    """What answers: every address with the page, and that it is no good answer."""

    class Answer(BaseHTTPRequestHandler):
        server_version, sys_version = "edgehemo", ""

        def do_GET(self) -> None:
            self.send_response(503)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing: the journal is for what goes wrong."""

    return Answer


def main() -> int:
    """Serve for `SERVED_S` seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--words", type=Path, required=True)
    parser.add_argument("--configuration", type=Path, required=True)
    parser.add_argument("--ended", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=SERVED_S)
    given = parser.parse_args()
    words = json.loads(given.words.read_text("utf-8"))
    content = page(words, language_of(given.configuration), fact_of(given.ended))
    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer((HOST, given.port), handler(content))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    time.sleep(given.seconds)
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
