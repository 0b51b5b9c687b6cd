"""Runs one class of tests, `run.py MODULE.CLASS`, or lists them all, `run.py --list`. Of a
class, only those tests run whose names contain `QB_TEST_METHOD`, if that is set."""

import os
import pathlib
import sys
import time
import unittest

from processes import die_with_parent


class Timed(unittest.TextTestResult):
    """Says beside each test how long it took."""

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()

    def addSuccess(self, test):
        self.stream.write(f"{time.monotonic() - self.begun:.1f} s ")
        super().addSuccess(test)


def classes():
    """Every class that has tests, once, as `module.Class`."""
    for path in sorted(pathlib.Path(__file__).parent.glob("test_*.py")):
        suite = unittest.defaultTestLoader.loadTestsFromName(path.stem)
        tests = [test for of_class in suite for test in of_class]
        kinds = {type(test) for test in tests}
        yield from sorted(f"{path.stem}.{k.__name__}" for k in kinds if k.__module__ == path.stem)


def main(name):
    die_with_parent()
    if name == "--list":
        print(*classes(), sep="\n")
        return 0
    method = os.environ.get("QB_TEST_METHOD", "")
    tests = unittest.defaultTestLoader.loadTestsFromName(name)
    suite = unittest.TestSuite(test for test in tests if method in test.id().rsplit(".", 1)[1])
    result = unittest.TextTestRunner(verbosity=2, resultclass=Timed).run(suite)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
