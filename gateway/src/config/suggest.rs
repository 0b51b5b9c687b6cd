//! What a mistyped name was probably meant to be.

/// The known name nearest to `typed`, if it is near enough to be what was
/// meant: at most a third of its letters differ.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (distance(typed, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// The insertions, deletions and replacements, and swaps of neighbours, that
/// turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let shifted = rows[i - 1][j].min(rows[i][j - 1]) + 1;
                let crossed = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let swapped = if crossed { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                replaced.min(shifted).min(swapped)
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_single_slips() {
        for (a, b, slips) in [
            ("", "abc", 3),
            ("listen", "listen", 0),
            ("litsen", "listen", 1),
            ("tenat", "tenant", 1),
        ] {
            assert_eq!(distance(a, b), slips);
        }
    }

    #[test]
    fn offers_the_nearest_and_nothing_far_fetched() {
        let known = ["listen", "tenant", "max_pending"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("maxpending", known), Some("max_pending"));
        assert_eq!(nearest("colour", known), None);
    }
}
