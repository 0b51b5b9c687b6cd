//! Which messages and enums others use.

use prost_reflect::{Kind, MessageDescriptor};
use std::collections::HashSet;

/// The names of the outermost messages and enums that `some` use, directly or not, and their
/// own.
pub(super) fn used_by(some: impl Iterator<Item = Kind>) -> HashSet<String> {
    let (mut used, mut open) = (HashSet::new(), some.collect::<Vec<_>>());
    while let Some(kind) = open.pop() {
        let Some(name) = outermost(&kind) else { continue };
        if used.insert(name)
            && let Some(message) = outermost_message(&kind)
        {
            mentioned(&message, &mut open);
        }
    }
    used
}

/// What a message mentions in itself and in those that it declares.
fn mentioned(message: &MessageDescriptor, open: &mut Vec<Kind>) {
    open.extend(message.fields().map(|field| field.kind()));
    for extension in message.child_extensions() {
        open.extend([Kind::Message(extension.containing_message()), extension.kind()]);
    }
    message.child_messages().for_each(|child| mentioned(&child, open));
}

/// The full name of the message or enum that stands in the file itself: what is declared
/// within it comes and goes with it. `None` for numbers, texts and bytes.
pub(super) fn outermost(kind: &Kind) -> Option<String> {
    match (outermost_message(kind), kind) {
        (Some(message), _) => Some(message.full_name().to_owned()),
        (None, Kind::Enum(of)) => Some(of.full_name().to_owned()),
        (None, _) => None,
    }
}

fn outermost_message(kind: &Kind) -> Option<MessageDescriptor> {
    let mut message = match kind {
        Kind::Message(message) => message.clone(),
        Kind::Enum(of) => of.parent_message()?,
        _ => return None,
    };
    while let Some(parent) = message.parent_message() {
        message = parent;
    }
    Some(message)
}
