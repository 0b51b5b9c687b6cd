//! Whether a path stays below another one, wherever it is decoded.

use percent_encoding::percent_decode;

/// Characters that some servers turn into a dot, a slash or a backslash when they put a text
/// into a character set of their own, or compose it.
const LOOK_ALIKES: &str = "․‥…﹒．。｡⁄∕╱／∖＼﹨％";

/// Whether all servers read a path in the same way: however often one decodes it, no dots,
/// slashes or backslashes come out of it that did not stand there, and no part of it means
/// "here" or "up" (also as `..;x`, which Tomcat reads so).
pub(super) fn is_plain(path: &str) -> bool {
    if has_lonely_percent(path) {
        return false;
    }
    let slashes = path.matches('/').count();
    let dots = path.matches('.').count();
    let mut now = path.to_owned();
    // Each round makes it shorter, or is the last.
    loop {
        if now.contains('\\') || names_a_place(&now) || has_wide_code(&now) {
            return false;
        }
        // What is no UTF-8 may be a dot or a slash in an overlong form.
        let Ok(next) = percent_decode(now.as_bytes()).decode_utf8() else { return false };
        if next == now {
            return true;
        }
        let is_same = next.matches('/').count() == slashes && next.matches('.').count() == dots;
        let is_clean = !next.chars().any(|c| c.is_control() || LOOK_ALIKES.contains(c));
        if !is_same || !is_clean {
            return false;
        }
        now = next.into_owned();
    }
}

/// Whether a path goes up somewhere, for a server that decodes it once or more often.
pub(super) fn climbs(path: &str) -> bool {
    let mut now = path.to_owned();
    loop {
        if names_a_place(&now.replace('\\', "/")) {
            return true;
        }
        let next = percent_decode(now.as_bytes()).decode_utf8_lossy().into_owned();
        if next == now {
            return false;
        }
        now = next;
    }
}

/// Whether there is a `%` without its two digits.
fn has_lonely_percent(path: &str) -> bool {
    path.split('%').skip(1).any(|rest| {
        !rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    })
}

/// `%u002e`, as IIS reads it.
fn has_wide_code(path: &str) -> bool {
    path.split('%').skip(1).any(|rest| {
        let code = rest.strip_prefix(['u', 'U']).and_then(|rest| rest.as_bytes().get(..4));
        code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Whether a part between slashes is a `.` or `..`, with parameters, a query or spaces behind
/// it or without.
fn names_a_place(path: &str) -> bool {
    let is_space = |c: char| c.is_whitespace() || c == '+';
    path.split('/').any(|part| {
        let name = part.split([';', '?', '#']).next().unwrap_or_default();
        matches!(name.trim_matches(is_space), "." | "..")
    })
}
