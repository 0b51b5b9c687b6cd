//! Python for the tests: the emulator, and clients that are not ours.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap_or(root)
}

/// The Python interpreter of the virtual environment in `target/python`, which has the
/// packages of `tests/requirements.txt`. The first caller installs it; others wait.
///
/// # Errors
/// When `python3` or one of the packages is missing.
pub fn interpreter() -> io::Result<PathBuf> {
    let target = root().join("target");
    fs::create_dir_all(&target)?;
    let lock = File::create(target.join("python.lock"))?;
    lock.lock()?;
    let home = target.join("python");
    let requirements = root().join("tests/requirements.txt");
    let wanted = fs::read_to_string(&requirements)?;
    let installed = home.join("installed.txt");
    if fs::read_to_string(&installed).unwrap_or_default() != wanted {
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        // The list is complete, so that there is nothing to resolve; files are compiled
        // when they are first imported, which most never are.
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let pinned = ["--no-deps", "--no-compile", "--no-cache-dir", "-r"];
        run(Command::new(home.join("bin/python")).args(pip).args(pinned).arg(&requirements))?;
        fs::write(&installed, wanted)?;
    }
    Ok(home.join("bin/python"))
}

/// The folder of this profile's binaries, all of them built.
///
/// # Panics
/// When they do not build.
#[must_use]
pub fn binaries() -> &'static Path {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let built = run(Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--bins"])
            // It is for the test program; the compiler would build everything anew with it.
            .env_remove("RUSTC_BOOTSTRAP")
            .current_dir(root()));
        built.unwrap_or_else(|error| panic!("the binaries: {error}"));
        // This program is `<target>/<profile>/deps/<name>`.
        let program = std::env::current_exe().unwrap_or_default();
        program.ancestors().nth(2).map_or_else(|| root().join("target/debug"), Path::to_owned)
    })
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started, or does not end well.
pub fn run(command: &mut Command) -> io::Result<()> {
    let status: ExitStatus = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?} ended with {status}")))
}
