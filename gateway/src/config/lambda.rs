//! What the configuration says about the gateway as a Lambda function, and where a
//! process without a command line finds its configuration.

use super::reader::Reader;
use super::values::{text, word};
use super::variables;
use queuebridge_web_lambda::{BasePath, InvokeMode};
use std::path::{Path, PathBuf};

/// Set by Lambda in every function.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// Set by Lambda where it hands out several invocations at once.
const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

const MODES: [(&str, InvokeMode); 2] =
    [("BUFFERED", InvokeMode::Buffered), ("RESPONSE_STREAM", InvokeMode::ResponseStream)];

/// Whether this process is a Lambda function.
#[must_use]
pub fn is_lambda() -> bool {
    std::env::var_os(RUNTIME_API).is_some_and(|address| !address.is_empty())
}

/// Whether invocations run side by side. Then the process is not frozen at the end of one.
#[must_use]
pub fn is_concurrent() -> bool {
    std::env::var_os(MAX_CONCURRENCY).is_some_and(|most| !most.is_empty() && most != "1")
}

/// How answers leave the function.
pub(super) fn invoke_mode(reader: &mut Reader) -> InvokeMode {
    let mut mode = InvokeMode::default();
    reader.set("lambda.invoke_mode", &mut mode, word(&MODES));
    mode
}

/// What stands before the paths of methods.
pub(super) fn base_path(reader: &mut Reader) -> Option<BasePath> {
    reader.read("lambda.base_path", text("a path such as \"/orders\"", |text| text.parse().ok()))
}

pub(super) fn name(mode: InvokeMode) -> &'static str {
    MODES.iter().find(|(_, known)| *known == mode).map_or("", |(name, _)| name)
}

/// The configuration file: the one of the command line, or else of the environment.
pub(super) fn file(given: Option<&Path>, env: &[(String, String)]) -> Option<PathBuf> {
    let named = |(name, path): &&(String, String)| name == variables::FILE && !path.is_empty();
    given.map(Path::to_owned).or_else(|| env.iter().find(named).map(|(_, path)| path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (InvokeMode, Vec<String>) {
        let mut reader = Reader::new(toml::from_str(text).unwrap(), []);
        let mode = invoke_mode(&mut reader);
        (mode, reader.finish().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_invoke_mode_has_the_words_of_the_function_url() {
        assert_eq!(read("").0, InvokeMode::Buffered);
        for (word, mode) in MODES {
            assert_eq!(read(&format!("lambda.invoke_mode = \"{word}\"")), (mode, vec![]));
            assert_eq!(name(mode), word);
        }
        let (_, mistakes) = read("lambda.invoke_mode = \"buffered\"");
        assert!(mistakes[0].starts_with("lambda.invoke_mode: "), "{mistakes:?}");
        assert!(mistakes[0].ends_with("\"BUFFERED\" or \"RESPONSE_STREAM\""), "{mistakes:?}");
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let env = [("QB_CONFIG".to_owned(), "b.toml".to_owned())];
        let file = |given: Option<&str>, env| file(given.map(Path::new), env);
        assert_eq!(file(Some("a.toml"), &env), Some("a.toml".into()));
        assert_eq!(file(None, &env), Some("b.toml".into()));
        let empty = [("QB_CONFIG".to_owned(), String::new())];
        assert_eq!(file(None, &empty), None);
        assert_eq!(file(None, &[]), None);
    }
}
