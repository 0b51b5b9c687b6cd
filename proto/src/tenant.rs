//! Names of tenants.

/// The rule of [`is_tenant`], in words.
pub const RULE: &str = "1 to 63 characters of A-Z, a-z, 0-9, '_' and '-'";

/// The longest name: it fits into an ordering group together with a key of 64 characters.
const MAX_LEN: usize = 63;

/// Whether a tenant may have this name.
#[must_use]
pub fn is_tenant(text: &str) -> bool {
    !text.is_empty() && is_beginning(text)
}

/// Whether the name of a tenant may begin with this text, which may be empty.
#[must_use]
pub fn is_beginning(text: &str) -> bool {
    let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    text.len() <= MAX_LEN && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_letters_digits_dashes_and_an_end() {
        for right in ["a", "Shop_1-eu", &"x".repeat(MAX_LEN)] {
            assert!(is_tenant(right) && is_beginning(right), "{right}");
        }
        for wrong in ["a b", "a*", "a.b", "ä", "a\n", &"x".repeat(MAX_LEN + 1)] {
            assert!(!is_tenant(wrong) && !is_beginning(wrong), "{wrong}");
        }
        assert!(!is_tenant("") && is_beginning(""));
    }
}
