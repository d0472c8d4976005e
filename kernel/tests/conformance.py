"""Is this a Rust kernel as Jupyter understands one? jupyter_kernel_test's suite in full, then what Rust adds.

Exit status: 0 all passed, 1 some did not (or none ran).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import unittest
from pathlib import Path

import jupyter_kernel_test
from support import Kernel, Plan, closing_line, exit_when_asked

SHOWS_HTML = """
struct Page;
impl Page {
    fn evcxr_display(&self) { println!("EVCXR_BEGIN_CONTENT text/html\\n<b>bold</b>\\nEVCXR_END_CONTENT"); }
}
Page"""

PRINTS_HTML = 'println!("EVCXR_BEGIN_CONTENT text/html\\n<i>slanted</i>\\nEVCXR_END_CONTENT");'

LOOP = 'println!("looping"); loop { std::thread::sleep(std::time::Duration::from_millis(5)); }'


class Suite(jupyter_kernel_test.KernelTests):
    """jupyter_kernel_test's own questions, all of them."""

    language_name = "rust"
    file_extension = ".rs"
    code_hello_world = 'println!("hello, world");'
    code_stderr = 'eprintln!("to stderr");'
    completion_samples = [
        {"text": "let only_one_such: i32 = 1; only_one_s", "matches": {"only_one_such"}},
        {"text": "struct Lonely { single_field: i32 } fn f(l: Lonely) { l.single_f", "matches": {"single_field"}},
    ]
    complete_code_samples = ["1 + 1", "let x = 5;", "fn f() -> i32 { 3 }", 'println!("{}", 1)', "", "// only words"]
    incomplete_code_samples = ["fn f() {", "let x = (1,", 'println!("', "if true {\n    1", "/* not closed", "struct S {"]
    invalid_code_samples = ["fn f() }", "let x = );", "]"]
    code_generate_error = 'panic!("on purpose");'
    code_execute_result = [
        {"code": "1+2+3", "result": "6"},
        {"code": "vec![1, 2]", "result": "[1, 2]"},
        {"code": '"text".len() * 10', "result": "40"},
    ]
    code_display_data = [{"code": PRINTS_HTML, "mime": "text/html"}]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "std::vec::Vec"
    code_page_something = ":doc std::vec::Vec"
    code_clear_output = "lens::clear_output(false);"

    def get_non_kernel_info_reply(self, timeout: float | None = None) -> dict | None:
        # The suite waits without a limit where it gives none.
        return super().get_non_kernel_info_reply(timeout=timeout or 30)


class Welcome(jupyter_kernel_test.IopubWelcomeTests):
    """JEP 65, asked of a kernel whose protocol version has it."""

    @classmethod
    def setUpClass(cls) -> None:
        probe = Kernel(cls.kernel_name)
        info = probe.request(probe.client.kernel_info)
        probe.shutdown()
        version = tuple(int(n) for n in info["protocol_version"].split("."))
        cls.support_iopub_welcome = version >= (5, 4)
        super().setUpClass()


class Rust(unittest.TestCase):
    """What only a kernel with Rust behind it can be asked; the protocol itself is asked in `protocol.py`."""

    kernel_name = "syslab"

    @classmethod
    def setUpClass(cls) -> None:
        cls.kernel = Kernel(cls.kernel_name)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.kernel.shutdown()

    def run_ok(self, code: str, **options):
        run = self.kernel.run(code, **options)
        self.assertEqual(run.status, "ok", run.summary())
        return run

    def test_kernel_info_names_the_language(self) -> None:
        info = self.kernel.request(self.kernel.client.kernel_info)
        self.assertEqual(info["status"], "ok")
        language = info["language_info"]
        self.assertEqual(language["name"], "rust")
        self.assertRegex(language["version"], r"^1\.\d+\.\d+")
        self.assertRegex(language["mimetype"], "^text/(x-)?rust$")
        self.assertEqual(language["pygments_lexer"], "rust")
        self.assertIn("rust", str(language["codemirror_mode"]))
        self.assertTrue(info["banner"])

    def test_user_expressions_have_values_and_errors(self) -> None:
        run = self.run_ok("let six: i32 = 6;", user_expressions={"good": "six * 7", "bad": "no_such_name"})
        good, bad = run.reply["user_expressions"]["good"], run.reply["user_expressions"]["bad"]
        self.assertEqual((good["status"], good["data"]["text/plain"]), ("ok", "42"))
        self.assertEqual(bad["status"], "error")
        self.assertTrue(bad["ename"] and bad["evalue"])

    def test_error_reply_and_error_message_say_the_same(self) -> None:
        cases = (('panic!("boom")', "Panic"), ("no_such_name", "E0425"), ('"x".parse::<i32>()?;', "QuestionMark"))
        for code, name in cases:
            with self.subTest(code=code):
                run = self.kernel.run(code)
                self.assertEqual((run.status, run.ename), ("error", name), run.summary())
                shown = run.of("error")
                self.assertEqual(len(shown), 1)
                for key in ("ename", "evalue", "traceback"):
                    self.assertEqual(shown[0][key], run.reply[key])
                self.assertTrue(run.traceback)

    def test_display_of_a_struct(self) -> None:
        run = self.run_ok(SHOWS_HTML)
        data = [c["data"] for c in run.of("execute_result") + run.of("display_data")]
        self.assertEqual([d["text/html"].strip() for d in data], ["<b>bold</b>"])

    def test_value_of_nothing_is_not_shown(self) -> None:
        self.assertIsNone(self.run_ok("let _nothing: i32 = 1;").result)

    def test_output_streams_while_the_cell_runs(self) -> None:
        run = self.kernel.send('print!("now"); use std::io::Write as _; std::io::stdout().flush().unwrap(); '
                               "std::thread::sleep(std::time::Duration::from_secs(2));")
        self.assertTrue(self.kernel.listen(10, lambda: "now" in run.stream("stdout")))
        self.assertIsNone(run.reply)
        self.kernel.finish(run, 10)

    def test_completion_while_a_cell_runs(self) -> None:
        self.run_ok("let waited_for: i32 = 1;")
        run = self.kernel.send(LOOP)
        self.assertTrue(self.kernel.listen(10, lambda: "looping" in run.stream("stdout")))
        self.assertIn("waited_for", self.complete("waited_f")["matches"])
        self.assertIsNone(run.reply)
        self.kernel.interrupt()
        self.kernel.finish(run, 10)

    def test_completion_knows_the_standard_library(self) -> None:
        matches = self.complete("std::process::abo")["matches"]
        if not matches and not has_rust_src():
            self.skipTest("rust-src is not installed")
        self.assertEqual([m.removesuffix("()") for m in matches], ["abort"])

    def test_completion_of_a_variable_counts_characters(self) -> None:
        self.run_ok("let long_name_of_mine: i32 = 1;")
        code = 'let s = "äöü"; long_name_of_'
        reply = self.complete(code)
        self.assertIn("long_name_of_mine", reply["matches"])
        self.assertEqual((reply["cursor_start"], reply["cursor_end"]), (code.index("long"), len(code)))

    def complete(self, code: str) -> dict:
        return self.kernel.request(self.kernel.client.complete, code, limit=30)

    def test_inspect_of_an_own_function(self) -> None:
        self.run_ok("/// Doubles it.\nfn double(n: i32) -> i32 { n * 2 }")
        reply = self.kernel.request(self.kernel.client.inspect, "double(1)", 3, limit=30)
        self.assertTrue(reply["found"])
        self.assertIn("Doubles it", reply["data"]["text/plain"])

    def test_inspect_of_nothing(self) -> None:
        reply = self.kernel.request(self.kernel.client.inspect, "no_such_name", 3, limit=30)
        self.assertEqual((reply["status"], reply["found"]), ("ok", False))

    def test_question_mark_shows_help(self) -> None:
        self.run_ok("/// Halves it.\nfn halve(n: i32) -> i32 { n / 2 }")
        run = self.run_ok("?halve")
        self.assertIn("Halves it", run.said() + str(run.reply.get("payload", "")))

    def test_input_is_asked_for(self) -> None:
        run = self.run_ok('let mut s: String = String::new(); std::io::stdin().read_line(&mut s).unwrap(); s.trim().len()',
                          answers=("four",))
        self.assertEqual((run.result, len(run.prompts)), ("4", 1))



def has_rust_src() -> bool:
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    return (Path(sysroot) / "lib/rustlib/src/rust/library").exists()


def tally(tests: list[unittest.TestCase], result: unittest.TestResult) -> tuple[int, int, int]:
    """Passed, failed and skipped tests, a test with failing parts counted once, a class that can't start in full."""

    def asked(outcomes: list) -> set[str]:
        names = {str(getattr(test, "test_case", test).id()) for test, _ in outcomes}
        return {t.id() for t in tests if t.id() in names or any(f"({class_of(t)})" in n for n in names)}

    failed = asked(result.failures + result.errors)
    skipped = asked(result.skipped) - failed
    return len(tests) - len(failed) - len(skipped), len(failed), len(skipped)


def class_of(test: unittest.TestCase) -> str:
    return test.id().rpartition(".")[0]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", default="syslab", help="kernelspec to test (default: syslab)")
    parser.add_argument("--only", default="", metavar="NAME", help="tests whose name contains NAME")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    tests = []
    for case in (Suite, Welcome, Rust):
        case.kernel_name = options.kernel
        tests += [t for t in unittest.defaultTestLoader.loadTestsFromTestCase(case) if options.only in t.id()]
    counts = tally(tests, unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(tests)))
    print(closing_line(*counts))
    return 0 if counts[0] and not counts[1] else 1


if __name__ == "__main__":
    exit_when_asked()
    sys.exit(main())
