"""Checks that the tests named in the exceptions exist."""

import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.exceptions import REASONS


class Exceptions(unittest.TestCase):
    def test_named_tests_exist(self):
        suite = Path(__file__).parents[3] / "tests/e2e/suite"
        sources = "".join(file.read_text() for file in suite.rglob("*.rs"))
        named = {name for reason in REASONS.values() for name in re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+){3,}\b", reason)}
        self.assertGreater(len(named), 5)
        for name in named:
            self.assertIn(f"fn {name}(", sources)


if __name__ == "__main__":
    unittest.main()
