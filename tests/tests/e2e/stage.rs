//! What all tests of one run share: the interpreter, the binaries and the emulator.

use queuebridge_tests::{Emulator, python, templates};
use std::fs::{self, File};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tokio::runtime::Runtime;

/// Prepared by the first test that needs it; the others wait.
pub(crate) struct Stage {
    pub(crate) runtime: Runtime,
    pub(crate) interpreter: PathBuf,
    pub(crate) binaries: &'static Path,
    pub(crate) emulator: &'static Emulator,
    _lock: File,
}

impl Stage {
    /// # Panics
    /// When something cannot be built, installed or started, with the reason.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Option<Stage>> = OnceLock::new();
        // What cannot be prepared is not tried again by every test.
        let prepared = SHARED.get_or_init(|| catch_unwind(Self::prepare).ok());
        prepared.as_ref().expect("the preparation failed: its panic is printed above")
    }

    fn prepare() -> Self {
        let target = python::root().join("target");
        fs::create_dir_all(&target).unwrap();
        // A second run in this checkout waits for the first: they share folders.
        let lock = File::create(target.join("e2e.lock")).unwrap();
        if lock.try_lock().is_err() {
            eprintln!("another run of these tests is under way in this checkout: waiting for it");
            lock.lock().unwrap();
        }
        let runtime = Runtime::new().unwrap();
        let interpreter = python::interpreter().unwrap();
        let binaries = python::binaries();
        let emulator = runtime.block_on(Emulator::shared());
        templates::write_other(&folder("templates"));
        Self { runtime, interpreter, binaries, emulator, _lock: lock }
    }

    /// The interpreter with the environment of the tests, in `tests/python`.
    pub(crate) fn python(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.interpreter);
        command
            .current_dir(python::root().join("tests/python"))
            .env("QB_TEST_ENDPOINT", self.emulator.endpoint())
            .env("QB_TEST_BINARIES", self.binaries)
            .env("QB_TEST_TEMPLATES", python::root().join("target/e2e/templates"))
            .env("TMPDIR", folder)
            // Otherwise gRPC's threads disturb the processes that the tests start.
            .env("GRPC_ENABLE_FORK_SUPPORT", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// The folder of a test, empty: everything that it leaves lies there.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = python::root().join("target/e2e").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}
