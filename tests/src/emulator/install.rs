//! The installation of the emulator.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "ministack";
const VERSION: &str = "1.5.33";

/// The Python interpreter that has the emulator, installed on first use. Test
/// programs that start together wait for the first one.
pub(super) fn python() -> io::Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    fs::create_dir_all(&target)?;
    let target = target.canonicalize()?;
    let lock = File::create(target.join(format!("{PACKAGE}-{VERSION}.lock")))?;
    lock.lock()?;
    let home = target.join(format!("{PACKAGE}-{VERSION}"));
    let python = home.join("bin/python");
    let complete = home.join("complete");
    if !complete.exists() {
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        let package = format!("{PACKAGE}=={VERSION}");
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(&python).args(pip).arg(package))?;
        fs::create_dir_all(home.join("tmp"))?;
        File::create(complete)?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?} ended with {status}")))
}
