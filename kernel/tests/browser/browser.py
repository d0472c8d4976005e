"""The notebooks as a learner has them: JupyterLab in a real browser.

    browser.py --chromium PROGRAM --url URL --course FOLDER --pictures FOLDER --packages FOLDER

Opens the welcome page, runs a notebook to its end, crashes a cell, interrupts one, opens an exercise and grades it,
and looks on the page for what should be there. Notebooks are run as copies, which are removed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

NOTEBOOK = "02-processes"
PATIENCE = int(os.environ.get("SYSLAB_PATIENCE", "180")) * 1000  # ms: the slowest machine is no failure
SCRATCH = [
    ("let kept = 41;", []),
    ("unsafe { *(8 as *mut u8) = 1 };", ["SIGSEGV", "Variables are as they were"]),
    ("kept + 1", ["42"]),
    ("println!(\"going round\"); loop { std::hint::spin_loop() }", None),
    ("println!(\"still {}\", kept + 2);", ["still 43"]),
    ("?nix::unistd::fork", ["Create a new child process"]),
    (":exercise raw_write", ["raw_write.rs", "What is a system call"]),
    (":check raw_write", ["raw_write", "0/6", "todo"]),
    (":progress", ["ch02"]),
]


def notebook(cells: list[str]) -> dict:
    """A notebook of these cells."""
    return {
        "cells": [
            {"cell_type": "code", "execution_count": None, "id": f"c{n}", "metadata": {}, "outputs": [], "source": text}
            for n, text in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Rust (syslab)", "language": "rust", "name": "syslab"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


class Page:
    """A page of JupyterLab's, and pictures of it."""

    def __init__(self, page, base: str, token: str, pictures: Path) -> None:
        self.page, self.base, self.token, self.pictures = page, base, token, pictures
        self.number, self.path = 0, ""

    def open(self, path: str) -> None:
        self.path = path
        self.page.goto(f"{self.base}/lab/tree/{path}?token={self.token}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
        # Without a connection a cell is not sent, and nobody says so; what the page shows is idle from the beginning.
        self.page.wait_for_function(
            """() => {
                const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
                return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
            }""",
            timeout=PATIENCE,
        )

    def picture(self, name: str) -> None:
        self.number += 1
        self.page.screenshot(path=self.pictures / f"{self.number:02}-{name}.png")

    def menu(self, menu: str, item: str) -> None:
        self.page.get_by_role("menuitem", name=menu, exact=True).first.click()
        self.page.get_by_role("menuitem", name=item).first.click()

    def results(self) -> list[dict]:
        """Every code cell of the notebook's model: what no scrolling hides."""
        return self.page.evaluate(
            """path => {
                const all = Array.from(window.jupyterapp.shell.widgets('main'));
                const panel = all.find(widget => widget.context?.path === path);
                const cells = Array.from(panel.content.model.cells);
                return cells.filter(c => c.type === 'code').map(c => ({
                    id: c.id, tags: c.metadata.tags || [], count: c.executionCount,
                    source: c.sharedModel.source, outputs: c.sharedModel.outputs,
                }));
            }""",
            self.path,
        )

    def wait(self, what: str, condition) -> None:
        until = time.monotonic() + PATIENCE / 1000
        while not condition():
            if time.monotonic() > until:
                self.picture("failed")
                raise AssertionError(f"{what}: not within {PATIENCE // 1000} s")
            self.page.wait_for_timeout(100)

    def idle(self) -> bool:
        return self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").count() > 0


def text_of(outputs: list[dict]) -> str:
    """All that outputs say, in words."""
    words = []
    for output in outputs:
        words.append(str(output.get("text", "")))
        words.append("\n".join(output.get("traceback", [])))
        for content in output.get("data", {}).values():
            words.append("".join(content) if isinstance(content, list) else str(content))
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(words))


def welcome(page: Page) -> None:
    page.open("notebooks/00-welcome.ipynb")
    page.page.get_by_role("heading", name="Welcome to syslab").first.wait_for(timeout=PATIENCE)
    link = page.page.locator(".jp-RenderedMarkdown a", has_text="Processes").first
    assert link.get_attribute("href"), "the map has no link to chapter 2"
    page.picture("welcome")


def to_the_end(page: Page, path: str) -> str:
    page.open(path)
    page.menu("Run", "Run All Cells")
    page.wait("the last cell has run", lambda: all(c["count"] for c in page.results()) and page.idle())
    cells = page.results()
    for cell in cells:
        failed = any(output["output_type"] == "error" for output in cell["outputs"])
        meant = "raises-exception" in cell["tags"]
        assert failed == meant, f"{cell['id']}: {'failed' if failed else 'did not fail'}\n{text_of(cell['outputs'])}"
    pictures = page.page.locator(".jp-OutputArea svg[role=img], .jp-OutputArea table").count()
    drawn = sum("<svg" in text_of(cell["outputs"]) for cell in cells)
    assert drawn > 0 and pictures > 0, "no picture on the page"
    page.picture("notebook-end")
    page.page.keyboard.press("Control+Home")
    page.picture("notebook")
    return f"{len(cells)} cells, {drawn} pictures"


def by_hand(page: Page, path: str) -> None:
    page.open(path)
    page.page.locator(".jp-Notebook .jp-CodeCell").first.locator(".jp-InputArea-editor").click()
    for number, (source, words) in enumerate(SCRATCH):
        page.page.keyboard.press("Shift+Enter")
        if words is None:
            page.wait("it runs", lambda: "going round" in text_of(page.results()[number]["outputs"]))
            page.picture("running")
            page.page.locator("[data-command='notebook:interrupt-kernel'], .jp-ToolbarButtonComponent[title*='nterrupt']").first.click()
            words = ["nterrupt"]
        page.wait(f"{source} has run", lambda: page.results()[number]["count"] and page.idle())

        def said() -> bool:
            text = text_of(page.results()[number]["outputs"])
            return all(word in text for word in words)

        page.wait(f"{source} says {words}", said)
        if source.startswith(":exercise"):
            # In JupyterLab's own editor, beside the notebook.
            page.page.wait_for_selector(".jp-FileEditor", timeout=PATIENCE)
            page.page.locator(".jp-FileEditor", has_text="without a library in between?").wait_for(timeout=PATIENCE)
            page.picture("exercise")
            page.page.evaluate("path => window.jupyterapp.commands.execute('docmanager:open', {path})", path)
            page.page.wait_for_selector(".jp-NotebookPanel.jp-mod-current, .jp-Notebook.jp-mod-commandMode", timeout=PATIENCE)
    # On the page, not only in the model.
    page.page.locator(".jp-OutputArea-output", has_text="0/6").first.wait_for(timeout=PATIENCE)
    page.page.locator(".jp-OutputArea-output", has_text="SIGSEGV").first.wait_for(timeout=PATIENCE)
    page.picture("graded")


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("chromium", "url", "course", "pictures", "packages"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    sys.path.insert(0, args.packages)
    from playwright.sync_api import sync_playwright

    course, pictures = Path(args.course), Path(args.pictures)
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("*.png"):
        old.unlink()
    url = urlsplit(args.url)
    token = url.query.split("token=")[1]
    copies = {
        "run": (course / "notebooks" / f"{NOTEBOOK}.ipynb").read_text(),
        "hand": json.dumps(notebook([source for source, _ in SCRATCH])),
    }
    names = {key: f"notebooks/scratch-{os.getpid()}-{key}.ipynb" for key in copies}
    try:
        for key, text in copies.items():
            (course / names[key]).write_text(text)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=args.chromium, args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
            )
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(PATIENCE)
            lab = Page(page, f"{url.scheme}://{url.netloc}", token, pictures)
            try:
                welcome(lab)
                ran = to_the_end(lab, names["run"])
                by_hand(lab, names["hand"])
            except Exception:
                lab.picture("failed")
                raise
            browser.close()
    finally:
        for name in names.values():
            (course / name).unlink(missing_ok=True)
    print(f"welcome page, {NOTEBOOK} ({ran}), crash, interrupt, exercise and verdict are on the page")
    return 0


if __name__ == "__main__":
    sys.exit(main())
