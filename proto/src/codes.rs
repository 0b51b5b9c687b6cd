//! The canonical names of gRPC status codes.

use tonic::Code;

/// The names, each at the position of its number.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The canonical name of a code, such as `NOT_FOUND`.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    usize::try_from(i32::from(code)).ok().and_then(|n| NAMES.get(n)).copied().unwrap_or("UNKNOWN")
}

/// The code of a canonical name.
#[must_use]
pub fn code_from_name(name: &str) -> Option<Code> {
    let number = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(number).ok().map(Code::from_i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_name_that_leads_back_to_it() {
        for number in 0..17 {
            let code = Code::from_i32(number);
            assert_eq!(code_from_name(code_name(code)), Some(code));
        }
        assert_eq!(code_name(Code::Unauthenticated), "UNAUTHENTICATED");
        assert_eq!(code_from_name("unavailable"), None);
    }
}
