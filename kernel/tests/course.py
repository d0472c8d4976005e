"""Is the course there in a cell: what an exercise asks for, its hints, its verdict, and where one is?

Exit status: 0 all passed, 1 some did not (or none ran).
"""

from __future__ import annotations

from support import KernelCase, Run, hold

SLUG = "read_exactly"
# The first verdict compiles the grader and an exercise.
PATIENCE = 600


def bundles(run: Run) -> list[dict]:
    """What was displayed, as it stands at the end."""
    shown: dict[str, dict] = {}
    for kind, content in run.outputs:
        if kind in ("display_data", "update_display_data"):
            identity = content.get("transient", {}).get("display_id") or str(len(shown))
            shown[identity] = content["data"]
    return list(shown.values())


class CourseInACell(KernelCase):
    limit = PATIENCE

    def displayed(self, code: str) -> list[dict]:
        return bundles(self.run_ok(code))

    def test_exercise_is_text_and_opens_its_file(self) -> None:
        text, opens = self.displayed(f":exercise {SLUG}")
        self.assertIn("# Why does read return fewer bytes", text["text/markdown"])
        self.assertIn(f"](../exercises/ch01_system_calls/{SLUG}.rs)", text["text/markdown"])
        self.assertIn(f"{SLUG}.rs", opens["application/javascript"])

    def test_hints_come_one_after_the_other(self) -> None:
        (hint,) = self.displayed(f":hint {SLUG} --tier 2")
        self.assertIn("hint 2 of 3", hint["text/plain"])
        self.assertIn("what to call", hint["text/html"])

    def test_verdict_is_a_picture_and_a_text(self) -> None:
        (verdict,) = self.displayed(f":check {SLUG}")
        for content in verdict.values():
            self.assertIn(SLUG, content)
            self.assertRegex(content, r"\d/7")

    def test_a_chapter_is_a_board(self) -> None:
        run = self.kernel.run(":check ch01 --json", limit=PATIENCE)
        self.assertIn('"summary"', run.stream("stdout"))

    def test_progress_is_drawn(self) -> None:
        (progress,) = self.displayed(":progress")
        self.assertIn("<svg", progress["text/html"])
        self.assertRegex(progress["text/plain"], r"\d+ of \d+ exercises solved")

    def test_an_unknown_exercise_is_an_error_with_the_next_command(self) -> None:
        run = self.kernel.run(":check read_exactyl", limit=PATIENCE)
        self.assertEqual(run.status, "error")
        self.assertIn("there is no exercise or chapter", run.evalue)
        self.assertIn("did you mean", run.evalue)
        self.assertEqual(bundles(run), [b for b in bundles(run) if "text/html" not in b])


if __name__ == "__main__":
    hold("the course in a cell")
