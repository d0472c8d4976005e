"""Executes one notebook on a kernel and tells what each cell showed: a line of JSON a cell, on stdout.

usage: run.py NOTEBOOK KERNEL SECONDS     (the kernel works in the notebook's folder)

Comparing is not done here: `cargo xtask notebooks` reads these lines.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError


def told(cell: dict, index: int, seconds: float) -> dict:
    """What a person sees of a cell, as text."""
    stdout, values, error = "", [], None
    for output in cell.outputs:
        if output.output_type == "stream":
            stdout += output.text if output.name == "stdout" else ""
        elif output.output_type == "error":
            error = error or {key: output[key] for key in ("ename", "evalue", "traceback")}
        elif "text/plain" in output.get("data", {}):
            values.append(output.data["text/plain"])
    return {
        "index": index,
        "seconds": seconds,
        "outputs": len(cell.outputs),
        "stdout": stdout,
        "values": values,
        "error": error,
    }


def execute(path: Path, kernel: str, limit: int, tell) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        timeout=limit,
        startup_timeout=limit,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with client.setup_kernel():
        tell({"ready": True})
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            started, ended = time.monotonic(), None
            try:
                client.execute_cell(cell, index)
            except CellExecutionError:
                pass  # It is among the outputs.
            except CellTimeoutError:
                ended = f"still running after {limit} s"
            except DeadKernelError:
                ended = "the kernel died"
            report = told(cell, index, time.monotonic() - started)
            tell({**report, "ended": ended})
            unexpected = report["error"] and "raises-exception" not in cell.metadata.get("tags", [])
            if ended or unexpected:
                return


def main() -> None:
    path, kernel, limit = sys.argv[1:]
    # What a kernel writes to its own stdout must not come between the lines.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(what: dict) -> None:
        print(json.dumps(what), file=lines, flush=True)

    execute(Path(path).resolve(), kernel, int(limit), tell)


if __name__ == "__main__":
    main()
