//! End to end: real processes, an AWS endpoint, and clients in other languages.
//!
//! Each class of `tests/python` is one test, `module::Class`. They run beside each other,
//! because most of their time is waiting; each has queues, tables, ports and a folder of its
//! own. `tests/README.md` says where a failed one leaves its logs.

mod classes;
mod stage;
mod tour;

use libtest_mimic::{Arguments, Trial};

/// Tests at once. A test takes a core for a tenth of its time or less.
const AT_ONCE: usize = 8;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let mut tests = classes::tests();
    tests.push(Trial::test("tour", tour::every_command_works));
    tests.push(Trial::test("every_class_is_a_test", classes::every_class_is_a_test));
    libtest_mimic::run(&arguments, tests).exit();
}
