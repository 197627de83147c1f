"""Every quality code with its title, what it means and what to do: the offline help page."""

from __future__ import annotations

from edgehemo.guidance.catalogue import all_help

_STYLE = (
    "body{font:1.1rem/1.5 sans-serif;max-width:45rem;margin:1rem auto;padding:0 1rem;"
    "background:#fff;color:#111}section{border-top:1px solid #999;padding:.5rem 0}"
    "section:target{background:#ffe9a8}h2{margin:.2rem 0}td{padding:.3rem .8rem .3rem 0}"
)


def help_page() -> str:
    """All codes, and the faults a camera can have, as one self-contained HTML page.

    Each code is an anchor: ``help.html#OUT_OF_FOCUS``.
    """
    import html

    from edgehemo.guidance.catalogue import ACTIONS

    entries = [
        f'<section id="{item.code}"><h2>{html.escape(item.title)}</h2>'
        f"<p><code>{item.code}</code></p><p>{html.escape(item.meaning)}</p>"
        f"<p><strong>{html.escape(item.action)}</strong></p></section>"
        for item in all_help().values()
    ]
    faults = [
        f'<tr id="{code}"><td><code>{code}</code></td><td>{html.escape(action)}</td></tr>'
        for code, action in ACTIONS.items()
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>edgehemo: what the quality codes mean</title><style>{_STYLE}</style></head><body>"
        "<h1>What the quality codes mean, and what to do</h1>\n"
        + "\n".join(entries)
        + '\n<section id="camera"><h2>Faults of the camera</h2><table>'
        + "".join(faults)
        + "</table></section></body></html>\n"
    )
