"""How long pages take: `python benchmarks/dashboard.py [--small 500] [--large 10000] [--json out.json]`.

Makes recorded labs (tests/recorded_lab.py), serves them by a process of its own, and asks each page of each lab again
and again over one connection, so that a number is the server's time and one trip over loopback. With Chromium at hand
it also measures how long the first page takes until its chart is drawn. Printed are the median of all tries, and the
first.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from aarlab.store import Store
from pace import pace
from recorded_lab import make

NAVIGATION = {
    "Accept": "text/html", "Accept-Encoding": "identity", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}  # fmt: skip
TRIES = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=500, help="submissions of the small lab; 200 posts")
    parser.add_argument("--large", type=int, default=10_000, help="submissions of the large lab; 50,000 posts; 0: none")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "labs"
        make(root / "small", submissions=options.small, posts=200)
        names = ["small"]
        if options.large:
            make(
                root / "large",
                submissions=options.large,
                posts=5 * options.large,
                outcomes=False,
                events=False,
                phase="research",
            )
            names.append("large")
        rows = measure(root, names)
    speed = f"a million additions take {1000 * pace():.0f} ms"
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {speed}; milliseconds")
    for row in rows:
        times = f"median {row['median']:7.1f}  first {row['first']:7.1f}"
        print(f"{row['lab']:6} {row['page']:12} {times}  {row['bytes']:9,} bytes")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def measure(root: Path, names: list[str]) -> list[dict[str, Any]]:
    argv = [sys.executable, "-m", "aarlab", "serve", "--labs", str(root), "--port", "0"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        link = next(m.group(0) for line in process.stdout if (m := re.search(r"http://\S+/login\?key=\S+", line)))
        rows: list[dict[str, Any]] = []
        with httpx.Client(headers=NAVIGATION, follow_redirects=True, timeout=120) as client:
            client.get(link).raise_for_status()
            base = link.split("/login")[0]
            for name in names:
                settle(client, f"{base}/labs/{name}")
                rows += [asked(client, name, page, base + path) for page, path in pages(root / name, name).items()]
            cookies = [{"name": c.name, "value": c.value or "", "url": base} for c in client.cookies.jar]
        rows += [looked_at(f"{base}/labs/{name}", name, cookies) for name in names if shutil.which("chromium")]
        return rows
    finally:
        process.terminate()
        process.wait(20)


def pages(lab: Path, name: str) -> dict[str, str]:
    with Store(lab / "lab.db").read() as rows:
        scored = next(s.id for s in reversed(rows.submissions()) if s.status == "scored")
        person = next(r.name for r in rows.researchers() if r.role == "researcher")
        post = rows.posts(limit=1)[-1].id
    here = f"/labs/{name}"
    return {
        "run": here, "leaderboard": f"{here}/leaderboard", "submission": f"{here}/submissions/{scored}",
        "forum": f"{here}/forum", "thread": f"{here}/forum/{post}", "search": f"{here}/forum?search=seeds",
        "researcher": f"{here}/researchers/{person}", "ideas": f"{here}/ideas", "trust": f"{here}/trust",
        "compare": f"/compare?lab={name}", "home": "/",
    }  # fmt: skip


def settle(client: httpx.Client, address: str) -> None:
    """Until what is computed once is computed."""
    for _ in range(600):
        if client.get(address, headers={"Accept": "application/json"}).json().get("settled", True):
            return
        time.sleep(0.5)


def asked(client: httpx.Client, lab: str, page: str, address: str) -> dict[str, Any]:
    took = []
    for _ in range(TRIES):
        began = time.perf_counter()
        answer = client.get(address)
        took.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
    return {"lab": lab, "page": page, "median": statistics.median(took), "first": took[0], "bytes": len(answer.content)}


def looked_at(address: str, lab: str, cookies: list[dict[str, str]]) -> dict[str, Any]:
    """From the request to a drawn chart in Chromium, with a cold cache."""
    from playwright.sync_api import sync_playwright

    took = []
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(5):
            context = browser.new_context(viewport={"width": 1280, "height": 1200})
            context.add_cookies(cookies)  # type: ignore[arg-type]
            page = context.new_page()
            began = time.perf_counter()
            page.goto(address)
            page.wait_for_selector(".chart svg")
            took.append(1000 * (time.perf_counter() - began))
            size = page.evaluate("document.documentElement.outerHTML.length")
            context.close()
        browser.close()
    return {"lab": lab, "page": "in Chromium", "median": statistics.median(took), "first": took[0], "bytes": size}


if __name__ == "__main__":
    main()
