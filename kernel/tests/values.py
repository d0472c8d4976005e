"""What is shown of a cell's last expression, and what is said when there is no way to show it?

Exit status: 0 all passed, 1 some did not (or none ran).
"""

from __future__ import annotations

from support import Kernel, KernelCase, hold

OWN = (
    "pub struct Own; impl Own { fn evcxr_display(&self) { "
    'println!("EVCXR_BEGIN_CONTENT text/html\\n<b>own</b>\\nEVCXR_END_CONTENT"); } } '
    "fn own() -> std::io::Result<Own> { Ok(Own) }\n"
)
# The first compile of such a cell fails, because evcxr asks for a type that `?` has nothing to say of.
QUESTION_MARK = "own()?"


class Values(KernelCase):
    def shown(self, code: str, kernel: Kernel | None = None) -> dict:
        run = (kernel or self.kernel).run(code)
        self.assertEqual(run.status, "ok", run.summary())
        kinds = ("execute_result", "display_data")
        (data,) = [content["data"] for kind, content in run.outputs if kind in kinds]
        return data

    def test_debug_is_for_what_has_nothing_better(self) -> None:
        self.assertEqual(self.shown('#[derive(Debug)] struct D(u8); D(1)')["text/plain"], "D(1)")
        self.assertEqual(self.shown("(0..3).map(|n| n * 2).collect::<Vec<_>>()")["text/plain"], "[0, 2, 4]")

    def test_own_way_comes_first(self) -> None:
        self.assertEqual(self.shown(OWN + "Own")["text/html"], "<b>own</b>")

    def test_question_mark_changes_nothing_about_that(self) -> None:
        self.assertEqual(self.shown(OWN + QUESTION_MARK)["text/html"], "<b>own</b>")

    def test_nothing_is_not_shown(self) -> None:
        # A loop that takes a variable compiles at the second attempt, for the variable is gone.
        for code in ("let _nothing = 1;", "let taken = vec![String::new()]; for text in taken { drop(text) }"):
            run = self.kernel.run(code)
            self.assertEqual((run.status, [kind for kind, _ in run.outputs]), ("ok", ["execute_input"]), run.summary())

    def test_a_value_that_never_comes_is_none(self) -> None:
        run = self.kernel.run("unsafe { libc::raise(libc::SIGKILL); loop { libc::pause(); } }")
        self.assertEqual(run.ename, "SIGKILL", run.summary())

    def test_picture_is_one_in_the_first_cell_too(self) -> None:
        kernel = Kernel(self.name)
        try:
            data = self.shown("lens::mounts(0)?", kernel)
        finally:
            kernel.kill()
        self.assertIn("text/html", data)

    def test_what_lacks_debug_is_shown_where_it_is(self) -> None:
        for code, column in (("struct N; N", 11), ("struct M; let m = || Some(M);\nm()", 1)):
            with self.subTest(code):
                run = self.refused(code)
                self.assertEqual(run.ename, "E0277")
                self.assertIn("doesn't implement `std::fmt::Debug`", run.evalue)
                self.assertIn(f"cell:{code.count(chr(10)) + 1}:{column}", run.traceback)
                self.assertIn("consider annotating", run.traceback)

    def test_another_error_beside_a_value_is_the_one_that_is_told(self) -> None:
        run = self.refused('let number: u8 = "text"; number')
        self.assertEqual(run.ename, "E0308")
        self.assertNotIn("evcxr", run.traceback)


if __name__ == "__main__":
    hold("values")
