//! What comes out of queues, event sources and headers.

use super::headers;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use queuebridge_proto::encryption::DataKey;
use queuebridge_proto::envelope::{Sealable, authenticate};
use queuebridge_proto::resubmit::{self, Bound};
use queuebridge_proto::v1::{
    Announcements, Call, CallbackMessage, Envelope, Metadatum, SubmitRequest,
};
use queuebridge_proto::{JobId, Keyring, MethodName, callback, envelope, framing, metadata, reply};
use queuebridge_store::Record;
use tonic::metadata::MetadataMap;

fn keys() -> Keyring {
    Keyring::single(&[1; 32])
}

/// The body of a queue message, as a stranger may have written it.
pub(super) fn envelope(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    let opened = envelope::open(body, &keys());
    assert!(opened.is_err() || reply::open(body, &keys()).is_err(), "one MAC, two kinds");
    let _ = callback::open(body, &keys());
}

/// The inside of one, by somebody who has the keys: the first byte is the encoding.
pub(super) fn sealed(data: &[u8]) {
    let Some((encoding, content)) = data.split_first() else { return };
    fn open<M: Sealable>(encoding: i32, content: &[u8]) -> Option<M> {
        let mut header = [0; 8];
        header[..4].copy_from_slice(&1u32.to_be_bytes());
        header[4..].copy_from_slice(&encoding.to_be_bytes());
        let envelope = Envelope {
            major: 1,
            encoding,
            key_id: 1,
            mac: Bytes::copy_from_slice(&keys().sign(&[M::DOMAIN, &header, content])),
            content: Bytes::copy_from_slice(content),
            ..Envelope::default()
        };
        let body = STANDARD.encode(envelope.encode_to_vec());
        let authentic = authenticate::<M>(&body, &keys()).ok()?;
        let wrapped = authentic.data_key().cloned().unwrap_or_default();
        authentic.read(Some(&DataKey::new(wrapped, [2; 32].into()))).ok()
    }
    let encoding = i32::from(*encoding % 5);
    if let Some(call) = open::<Call>(encoding, content) {
        let _ = JobId::parse_trusted(&call.job_id);
        let _ = MethodName::parse(&call.method);
        let _ = metadata::to_metadata_map(&call.metadata);
        assert_eq!(Call::decode(&call.encode_to_vec()[..]).as_ref(), Ok(&call));
    }
    for job in open::<Announcements>(encoding, content).unwrap_or_default().jobs {
        let _ = job.finished.map(|finished| Record::of_finished(finished).into_finished());
    }
    let _ = open::<CallbackMessage>(encoding, content);
}

/// A job id from a caller.
pub(super) fn job_id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = JobId::parse_trusted(text) {
        assert_eq!(id.to_string(), text, "one id, one text");
        assert!(JobId::verify(text, "t", &keys()).is_err() || id.expires_at().0 > 0);
    }
}

/// A resubmit token from a caller.
pub(super) fn resubmit_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let bound = Bound { tenant: "t", owner: &[1; 16], digest: &[2; 32] };
    if let Some(id) = resubmit::verify(text, &bound, &keys()) {
        assert_eq!(resubmit::token(&id, &bound, &keys()), text, "one token, one text");
    }
}

/// An event of Lambda, and within it bodies, pointers and requests.
pub(super) fn lambda_event(data: &[u8]) {
    let _ = queuebridge_worker::host::lambda::decodes(data);
}

/// Metadata in lines `key: value`, and in a submission.
pub(super) fn metadata(data: &[u8]) {
    let entries = metadata::from_metadata_map(&MetadataMap::from_headers(headers(data)));
    let again = metadata::from_metadata_map(&metadata::to_metadata_map(&entries));
    let sorted = |mut all: Vec<Metadatum>| {
        all.sort_by_key(|entry| entry.encode_to_vec());
        all
    };
    assert_eq!(sorted(entries), sorted(again), "what has passed once passes again");
    if let Ok(submission) = SubmitRequest::decode(data) {
        let _ = metadata::check(&submission.metadata);
        let _ = metadata::to_metadata_map(&submission.metadata);
        let _ = MethodName::parse(&submission.method);
    }
    let _ = framing::split(Bytes::copy_from_slice(data));
}
