//! Python for the tests: the emulator, and clients that are not ours.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

/// Variables of a test program that a build must not see.
const NOT_FOR_CARGO: [&str; 8] = [
    "RUSTC_BOOTSTRAP",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

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
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(root());
        // They are set for this process; build scripts that watch them, as that of ring does,
        // would run again, and all that depends on them would be built again.
        for variable in NOT_FOR_CARGO {
            build.env_remove(variable);
        }
        let built = run(&mut build);
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
