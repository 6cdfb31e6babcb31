"""A process that does one side of a comparison when it is told to, so that each side runs as its user has it."""

import subprocess
import sys


class Child:
    """`python FILE --serve WORDS...`, asked by lines and answering by lines."""

    def __init__(self, file: str, *words: str, python: str = sys.executable) -> None:
        command = [python, file, "--serve", *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, *asked: object) -> str:
        """What it answers to a line of words."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("".join(f"{each}\t" for each in asked) + "\n")
        self.process.stdin.flush()
        if not (answer := self.process.stdout.readline()):
            raise SystemExit("one side's process died")
        return answer.strip()
