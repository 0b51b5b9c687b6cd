//! What `--help` and `--version` show.

use super::name;
use std::fmt::Write;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What to show, if the arguments of the process, its name first, ask for help or the
/// version and for nothing else. Other arguments are the owner's.
pub(crate) fn asked_for(arguments: impl IntoIterator<Item = String>) -> Option<String> {
    let arguments: Vec<String> = arguments.into_iter().collect();
    let [program, argument] = arguments.as_slice() else { return None };
    let program = program.rsplit('/').next().unwrap_or_default();
    match argument.as_str() {
        "--help" | "-h" => Some(help(program)),
        "--version" | "-V" => Some(format!("{program} (queuebridge-worker {VERSION})\n")),
        _ => None,
    }
}

fn help(program: &str) -> String {
    let mut text = format!(
        "{program}: a worker of Queuebridge {VERSION}\n\n\
         Environment variables say what it does: give {} to poll a queue, {} to serve\n\
         requests, or both. In Lambda it needs neither.\n",
        name::QUEUE_URL,
        name::LISTEN,
    );
    for (name, lines) in name::ALL {
        let _ = write!(text, "\n{name}\n");
        for line in *lines {
            let _ = writeln!(text, "   {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Option<String> {
        asked_for(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn help_names_every_variable_with_its_meaning() {
        let help = asked(&["/usr/bin/shop", "--help"]).unwrap();
        assert!(help.starts_with("shop: a worker of Queuebridge "), "{help}");
        assert!(
            help.contains("\nQB_QUEUE_URL\n    Outside of Lambda: the queue to poll"),
            "{help}"
        );
        for (name, lines) in name::ALL {
            assert!(help.contains(&format!("\n{name}\n    ")), "{name}");
            assert!(lines.iter().all(|line| help.contains(line.trim())), "{name}");
        }
        assert_eq!(asked(&["shop", "-h"]), Some(help));
    }

    #[test]
    fn the_version_is_shown_and_other_arguments_are_the_owners() {
        let version = format!("shop (queuebridge-worker {VERSION})\n");
        assert_eq!(asked(&["shop", "--version"]).as_ref(), Some(&version));
        assert_eq!(asked(&["shop", "-V"]), Some(version));
        for arguments in [&["shop"][..], &[], &["shop", "serve"], &["shop", "run", "--help"]] {
            assert_eq!(asked(arguments), None);
        }
    }
}
