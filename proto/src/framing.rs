//! The messages of a streamed request as one payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// How many bytes stand before each message.
pub const PREFIX: usize = 4;

/// Puts messages one after the other, each behind its length.
#[must_use]
pub fn join(messages: &[Bytes]) -> Bytes {
    let len = messages.iter().map(|message| PREFIX + message.len()).sum();
    let mut joined = BytesMut::with_capacity(len);
    for message in messages {
        // A gRPC message has a length of four bytes.
        joined.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        joined.put_slice(message);
    }
    joined.freeze()
}

/// Takes them apart again, without a copy. `None` when it is not what [`join`] makes.
#[must_use]
pub fn split(mut joined: Bytes) -> Option<Vec<Bytes>> {
    let mut messages = Vec::new();
    while !joined.is_empty() {
        let len = usize::try_from(joined.try_get_u32().ok()?).ok()?;
        if len > joined.len() {
            return None;
        }
        messages.push(joined.split_to(len));
    }
    Some(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_messages_come_back(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
        ) {
            let messages: Vec<Bytes> = messages.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(split(join(&messages)), Some(messages));
        }

        #[test]
        fn any_bytes_are_answered_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            if let Some(messages) = split(Bytes::from(bytes.clone())) {
                prop_assert_eq!(join(&messages), bytes);
            }
        }
    }
}
