"""Do the lines that begin with `:` do what `:help` says of them?

Exit status: 0 all passed, 1 some did not (or none ran).
"""

from __future__ import annotations

from support import KernelCase, hold


class Commands(KernelCase):
    def test_help_names_every_command_once(self) -> None:
        text = self.run_ok(":help").result or ""
        names = [line.split()[0] for line in text.splitlines()]
        self.assertIn(":trace", names)
        self.assertIn("!COMMAND", names)
        self.assertEqual(len(names), len(set(names)))

    def test_what_help_does_not_name_is_refused_and_the_session_goes_on(self) -> None:
        self.run_ok("let kept = 7;")
        for name in (":linker", ":preserve_vars_on_panic 0", ":fmt {:#?}", ":env A=b", ":nonsense"):
            self.assertIn("`:help` lists them", self.refused(name).evalue)
        self.assertEqual(self.run_ok("kept").result, "7")

    def test_pictures_of_the_process(self) -> None:
        for name in (":ps", ":fds", ":maps", ":signals", ":ns"):
            shown = self.run_ok(name).of("execute_result") + self.run_ok(name).of("display_data")
            self.assertTrue(all({"text/html", "text/plain"} <= set(content["data"]) for content in shown), name)
            self.assertTrue(shown, name)

    def test_variables_and_their_types(self) -> None:
        self.run_ok("let counted = vec![1_u8];")
        self.assertIn("counted: ", self.run_ok(":vars").result)
        self.assertRegex(self.run_ok(":type counted").result, r"counted: .*Vec<u8>")
        self.assertIn("`:vars` lists them", self.refused(":type no_such").evalue)

    def test_documentation_is_for_the_pager(self) -> None:
        for code in ("?nix::unistd::fork", ":doc nix::unistd::fork"):
            (page,) = self.run_ok(code).reply["payload"]
            self.assertEqual(page["source"], "page")
            self.assertIn("Create a new child process", page["data"]["text/plain"])
        self.assertIn("`no_such`", self.refused("?no_such").evalue)
        for code in (":doc", ":doc nix::unistd::fork\n1 + 1"):
            self.assertIn("`:doc` wants a name", self.refused(code).evalue)

    def test_last_error_is_explained(self) -> None:
        self.refused('let number: u8 = "text";')
        explained = self.run_ok(":explain")
        self.assertIn("Expected type did not match", str(explained.outputs))

    def test_error_after_a_question_mark_has_a_format(self) -> None:
        self.run_ok(":efmt {}")
        self.assertEqual(self.refused('std::fs::read("/no/such")?').evalue, "No such file or directory (os error 2)")
        self.run_ok(":efmt {:?}")
        self.assertIn("code: 2", self.refused('std::fs::read("/no/such")?').evalue)

    def test_shell_command_fails_by_its_status(self) -> None:
        self.assertEqual(self.run_ok("!echo one; echo two").stream("stdout"), "one\ntwo\n")
        self.assertIn("exit status: 3", self.refused("!exit 3").evalue)


if __name__ == "__main__":
    hold("commands")
