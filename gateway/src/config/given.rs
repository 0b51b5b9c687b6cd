//! A configuration in place of its file, for hosts that have environments and no files.

/// The variable whose text is what the file would contain.
pub(super) const TEXT: &str = "QB_CONFIG_TEXT";

/// The text of the file or, where there is none, of its variable; and the other variables.
pub(super) fn text(
    file: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> (String, Vec<(String, String)>) {
    let (given, env): (Vec<_>, Vec<_>) = env.into_iter().partition(|(name, _)| name == TEXT);
    let given = given.into_iter().next().map(|(_, text)| text);
    let text = if file.is_empty() { given.unwrap_or_default() } else { file.to_owned() };
    (text, env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_before_its_variable() {
        let env = || [(TEXT, "b"), ("QB_LISTEN", "c")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let rest = vec![("QB_LISTEN".to_owned(), "c".to_owned())];
        assert_eq!(text("a", env()), ("a".to_owned(), rest.clone()));
        assert_eq!(text("", env()), ("b".to_owned(), rest));
        assert_eq!(text("", []), (String::new(), vec![]));
    }
}
