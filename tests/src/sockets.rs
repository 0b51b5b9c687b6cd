//! What the tests start listens on the loopback interface only.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the watch looks. Servers stay for many times as long.
const PERIOD: Duration = Duration::from_millis(200);
/// A socket of TCP that listens, in the kernel's table.
const LISTENS: &str = "0A";

/// Looks again and again, while the tests run.
#[derive(Debug)]
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Watch {
    /// Begins to look.
    #[must_use]
    pub fn start() -> Self {
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            let mut found = BTreeSet::new();
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                found.extend(beyond_loopback());
            }
            found
        });
        Self { stop, thread }
    }

    /// Every process that this program started, directly or not, and that listened on
    /// another interface, with the address.
    ///
    /// # Panics
    /// When the watch itself has panicked.
    #[must_use]
    pub fn end(self) -> BTreeSet<String> {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

/// Each socket of this program, and of what it has started, that listens on another interface
/// now: the command and the address.
#[must_use]
pub fn beyond_loopback() -> Vec<String> {
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/net/{name}")));
    let sockets: Vec<_> = tables.iter().flatten().flat_map(|table| listening(table)).collect();
    let elsewhere = sockets.into_iter().filter(|(address, _)| !address.ip().is_loopback());
    elsewhere.filter_map(|(address, inode)| Some(format!("{}: {address}", owner(inode)?))).collect()
}

/// The addresses on which a table's sockets listen, and their inodes.
fn listening(table: &str) -> Vec<(SocketAddr, u64)> {
    let socket = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let address = address(columns.get(1)?)?;
        let inode = columns.get(9)?.parse().ok()?;
        (columns[3] == LISTENS).then_some((address, inode))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// The kernel prints words of 32 bits in the byte order of the machine.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word =
        |start| u32::from_str_radix(ip.get(start..start + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = if ip.len() == 8 {
        IpAddr::from(word(0)?)
    } else {
        let words = [word(0)?, word(8)?, word(16)?, word(24)?];
        Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).to_canonical()
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The process that has this socket, if this program started it.
fn owner(inode: u64) -> Option<String> {
    let link = format!("socket:[{inode}]");
    let has = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| to.as_os_str() == &*link)
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = pids.find(|pid| is_ours(*pid) && has(pid))?;
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Some(command.replace('\0', " "))
}

/// Whether a process is this one or a descendant of it.
fn is_ours(pid: u32) -> bool {
    let parent = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
    };
    std::iter::successors(Some(pid), |pid| parent(*pid)).any(|pid| pid == std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A table as the kernel writes it.
    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:22B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 13 1
   3: 0000000000000000FFFF00000100007F:1F91 0:0 0A 00000000:00000000 00:0 0  0 0 14 1
";

    #[test]
    fn a_table_names_who_listens_and_where() {
        let found: Vec<_> =
            listening(TABLE).into_iter().map(|(at, inode)| (at.to_string(), inode)).collect();
        let expected = [("0.0.0.0:8883", 11), ("127.0.0.1:8080", 12), ("127.0.0.1:8081", 14)];
        assert_eq!(found, expected.map(|(at, inode)| (at.to_owned(), inode)));
    }

    #[test]
    fn a_socket_of_this_program_has_an_owner_and_a_closed_one_has_none() {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listening(&fs::read_to_string("/proc/net/tcp").unwrap());
        let (_, inode) =
            here.into_iter().find(|(at, _)| Some(*at) == own.local_addr().ok()).unwrap();
        assert!(owner(inode).is_some());
        drop(own);
        assert_eq!(owner(inode), None);
    }
}
