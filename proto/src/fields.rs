//! How much a message is going to be, before it is decoded.
//!
//! Two bytes of a message can be hundreds in memory: an empty one within it, again and
//! again. What no honest message has is refused.

use prost::Name;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

// `SHAPES`: every message of the contract, with the numbers of its fields that are
// messages, and where these stand in the same list.
include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

type Shape = [(u32, usize)];

/// A message of this size, in bytes, is looked at before it is decoded.
const LARGE: usize = 64 * 1024;
/// Its own fields: of a batch of 1,000 each is one.
const MAX_OWN: usize = 20_000;
/// All fields, also of the messages within: 1,000 submissions with 64 entries of metadata
/// each have 204,000, and few more can be set in each.
const MAX_ALL: usize = 300_000;
/// Prost goes no deeper.
const MAX_DEPTH: u32 = 100;

/// Whether an `M` has more fields than any honest one. Fields from the first malformed one
/// on are not looked at: nor are they decoded.
pub(crate) fn are_too_many<M: Name>(message: &[u8]) -> bool {
    if message.len() <= LARGE {
        return false;
    }
    let name = M::full_name();
    let shape = SHAPES.iter().find(|(known, _)| *known == name);
    let mut count = Count { own: 0, all: 0 };
    count.message(shape.map_or(&[], |(_, shape)| *shape), message, 0);
    count.own > MAX_OWN || count.all > MAX_ALL
}

struct Count {
    own: usize,
    all: usize,
}

impl Count {
    fn message(&mut self, shape: &Shape, mut rest: &[u8], depth: u32) {
        while self.all <= MAX_ALL
            && let Ok((number, wire_type)) = decode_key(&mut rest)
        {
            self.all += 1;
            self.own += usize::from(depth == 0);
            let inner = shape.iter().find(|(known, _)| *known == number);
            match (inner, wire_type) {
                (Some((_, inner)), WireType::LengthDelimited) if depth < MAX_DEPTH => {
                    let length = decode_varint(&mut rest).ok();
                    let length = length.and_then(|length| usize::try_from(length).ok());
                    let Some((inside, after)) = length.and_then(|at| rest.split_at_checked(at))
                    else {
                        return;
                    };
                    self.message(SHAPES[*inner].1, inside, depth + 1);
                    rest = after;
                }
                _ => {
                    if skip_field(wire_type, number, &mut rest, DecodeContext::default()).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::metadatum::Value;
    use crate::v1::{Metadatum, SubmitBatchRequest, SubmitRequest};
    use prost::Message;

    fn too_many(message: &[u8]) -> bool {
        are_too_many::<SubmitBatchRequest>(message)
    }

    /// A field with so many empty messages in it.
    fn field_of(number: u8, inside: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        prost::encoding::encode_varint(inside.len() as u64, &mut field);
        [field, inside.to_vec()].concat()
    }

    #[test]
    fn the_largest_honest_batch_is_decoded() {
        let value = Some(Value::Ascii("v".into()));
        let metadata = vec![Metadatum { key: "k".into(), value }; 64];
        let job = SubmitRequest {
            method: "/a.B/C".into(),
            // It may have as many fields as it likes: it is none of ours.
            request: [0x0a, 0].repeat(1_000).into(),
            metadata,
            request_id: "1".into(),
            ..SubmitRequest::default()
        };
        let batch = SubmitBatchRequest { jobs: vec![job; 1_000], group: None };
        assert!(!too_many(&batch.encode_to_vec()));
    }

    #[test]
    fn what_would_take_more_than_it_looks_like_is_not() {
        assert!(too_many(&[0x0a, 0].repeat(50_000)), "empty submissions");
        let metadata = field_of(3, &[]);
        assert!(SubmitRequest::decode(&*metadata).unwrap().metadata.len() == 1);
        let within = field_of(1, &metadata.repeat(400_000));
        assert!(too_many(&within), "in one submission");
        assert!(!are_too_many::<crate::v1::CancelRequest>(&within), "in something else");
    }

    #[test]
    fn what_is_cut_off_is_left_to_the_decoder() {
        let large = field_of(1, &[0x0a, 0].repeat(LARGE));
        for end in [large.len() - 1, LARGE + 1] {
            too_many(&large[..end]);
        }
        too_many(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1].repeat(LARGE));
        assert!(!too_many(&vec![0xff; LARGE * 2]));
    }
}
