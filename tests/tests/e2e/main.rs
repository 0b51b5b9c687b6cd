//! End to end: real processes, an AWS endpoint, and clients in other languages.
//!
//! Each class of `tests/python` is one test, `module::Class`. They run beside each other,
//! because most of their time is waiting; each has queues, tables, ports and a folder of its
//! own. `tests/README.md` says where a failed one leaves its logs.

mod classes;
mod local;
mod programs;
mod stage;
mod times;
mod tour;

use libtest_mimic::Arguments;
use queuebridge_tests::sockets;
use times::test;

/// Tests at once. A test takes a core for a tenth of its time or less.
const AT_ONCE: usize = 8;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let mut tests = classes::tests();
    tests.extend(programs::tests());
    tests.push(test("tour", tour::every_command_works));
    tests.push(test("every_class_is_a_test", classes::every_class_is_a_test));
    let watch = sockets::Watch::start();
    let conclusion = libtest_mimic::run(&arguments, tests);
    for (test, took) in times::all() {
        println!("time {test} {:.1} s", took.as_secs_f64());
    }
    let found = watch.end();
    if !found.is_empty() {
        eprintln!("not on the loopback interface: {found:#?}");
        std::process::exit(101);
    }
    conclusion.exit();
}
