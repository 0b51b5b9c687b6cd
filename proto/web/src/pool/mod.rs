//! Descriptors that belong together, linked, with what cannot be used left out.
//!
//! `buffa-descriptor` links them: it resolves the features of editions, keeps maps in the
//! order of their keys, and answers what it cannot link with an error. What it takes as it
//! comes, and should not, is sorted out here before. Descriptors come from others: one bad
//! file costs what needs it, and nothing else.

mod alone;
mod check;
mod names;

use buffa::{DecodeOptions, Message};
use buffa_descriptor::generated::descriptor::{FileDescriptorProto, FileDescriptorSet};
use buffa_descriptor::{DescriptorPool, ServiceDescriptor};
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

/// What one file may take in memory while it is read.
const FILE_MEMORY: usize = 512 * 1024 * 1024;

/// The bytes are no `FileDescriptorSet`.
#[derive(Debug, thiserror::Error)]
#[error("the descriptors cannot be read: {0}")]
pub struct DescriptorError(String);

/// A service, a type or a file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What it is, with its name: `service a.B`.
    pub what: String,
    /// Why it cannot be used.
    pub why: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is left out: {}", self.what, self.why)
    }
}

/// Linked descriptors. Clones share them.
#[derive(Clone, Default)]
pub struct Pool(Arc<Inner>);

#[derive(Default)]
struct Inner {
    linked: Arc<DescriptorPool>,
    /// The files as they came, by name; those of which something was left out without it.
    files: HashMap<String, Bytes>,
    left_out: Vec<LeftOut>,
}

/// Reads serialized `FileDescriptorSet`s that belong together. What cannot be used is
/// [left out](Pool::left_out).
///
/// # Errors
/// See [`DescriptorError`].
pub fn pool<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Result<Pool, DescriptorError> {
    let mut draft = Draft::default();
    for set in sets {
        let set = <RawSet as prost::Message>::decode(set);
        let set = set.map_err(|error| DescriptorError(error.to_string()))?;
        set.file.into_iter().for_each(|file| draft.add(file));
    }
    Ok(draft.link())
}

/// The types that come with Protobuf, and those of `google.rpc`.
pub(crate) fn known_types() -> &'static Pool {
    static KNOWN: LazyLock<Pool> =
        LazyLock::new(|| pool([queuebridge_proto::KNOWN_TYPES]).unwrap_or_default());
    &KNOWN
}

/// The serialized file of a name, `google/protobuf/any.proto`, if it is one of those that
/// come with Protobuf or of `google.rpc`.
#[must_use]
pub fn known_file(name: &str) -> Option<Bytes> {
    known_types().file(name)
}

impl Pool {
    /// The linked descriptors.
    #[must_use]
    pub fn linked(&self) -> &Arc<DescriptorPool> {
        &self.0.linked
    }

    /// The services that can be used.
    #[must_use]
    pub fn services(&self) -> &[ServiceDescriptor] {
        self.0.linked.services()
    }

    /// The serialized file of a name, without what cannot be used.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<Bytes> {
        self.0.files.get(name).cloned()
    }

    /// What cannot be used.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.0.left_out
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.services().iter().map(ServiceDescriptor::full_name)).finish()
    }
}

/// A `FileDescriptorSet` whose files are read each for itself.
#[derive(Clone, PartialEq, prost::Message)]
struct RawSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

/// A file on its way into a pool.
struct Single {
    file: FileDescriptorProto,
    /// As it came; `None` when it has been changed.
    bytes: Option<Bytes>,
}

impl Single {
    fn name(&self) -> &str {
        self.file.name.as_deref().unwrap_or_default()
    }
}

/// Files on their way into a pool.
#[derive(Default)]
struct Draft {
    files: Vec<Single>,
    /// Their places by name, until some are left out.
    places: HashMap<String, usize>,
    left_out: Vec<LeftOut>,
}

impl Draft {
    fn add(&mut self, bytes: Bytes) {
        let options = DecodeOptions::new().with_element_memory_limit(FILE_MEMORY);
        let file = match options.decode_from_slice::<FileDescriptorProto>(&bytes) {
            Ok(file) => file,
            Err(error) => {
                return self.leave("a file whose name cannot be read", &error.to_string());
            }
        };
        let file = Single { file, bytes: Some(bytes) };
        let what = format!("file {}", file.name());
        if let Some(place) = self.places.get(file.name()) {
            // The same file comes with every set that imports it.
            if self.files[*place].file != file.file {
                tracing::debug!(file = file.name(), "a second file of this name is not read");
            }
        } else if let Err(why) = check::file(&file.file) {
            self.leave(&what, &why);
        } else {
            self.places.insert(file.name().to_owned(), self.files.len());
            self.files.push(file);
        }
    }

    fn leave(&mut self, what: &str, why: &str) {
        self.left_out.push(LeftOut { what: what.to_owned(), why: why.to_owned() });
    }

    fn link(mut self) -> Pool {
        self.import_known();
        self.order();
        let mut is_checked = false;
        loop {
            self.prune();
            let error = match linked(self.files.iter().map(|single| &single.file)) {
                Ok(linked) => return self.finish(linked),
                Err(error) => error,
            };
            if !std::mem::replace(&mut is_checked, true) && self.prune_refused() {
                continue;
            }
            // The first file with which it fails is the one.
            let (mut good, mut bad) = (0, self.files.len());
            let mut why = error;
            while bad - good > 1 {
                let middle = good.midpoint(bad);
                match linked(self.files[..middle].iter().map(|single| &single.file)) {
                    Ok(_) => good = middle,
                    Err(error) => (bad, why) = (middle, error),
                }
            }
            let file = self.files.remove(good);
            for service in &file.file.service {
                let name = check::scoped(
                    file.file.package.as_deref().unwrap_or_default(),
                    service.name.as_deref().unwrap_or_default(),
                );
                self.leave(&format!("service {name}"), &why);
            }
            self.leave(&format!("file {}", file.name()), &why);
        }
    }

    /// Adds what comes with Protobuf and is imported without being there.
    fn import_known(&mut self) {
        let mut next = 0;
        while let Some(file) = self.files.get(next) {
            for import in file.file.dependency.clone() {
                if !self.places.contains_key(&import)
                    && let Some(known) = self.known(&import)
                {
                    self.add(known);
                }
            }
            next += 1;
        }
    }

    /// A known file whose names are not taken: some declare the same under another path.
    fn known(&self, name: &str) -> Option<Bytes> {
        let bytes = known_file(name)?;
        let known = FileDescriptorProto::decode_from_slice(&bytes).ok()?;
        let declares = |file: &FileDescriptorProto| -> Vec<String> {
            file.message_type.iter().filter_map(|message| message.name.clone()).collect()
        };
        let names = declares(&known);
        let taken = self.files.iter().filter(|file| file.file.package == known.package);
        let mut taken = taken.flat_map(|file| declares(&file.file));
        (!taken.any(|name| names.contains(&name))).then_some(bytes)
    }

    /// Imports before what imports them.
    fn order(&mut self) {
        let mut rest: Vec<Option<Single>> = self.files.drain(..).map(Some).collect();
        let places = std::mem::take(&mut self.places);
        // Depth first without recursion: a file is taken when its imports have been.
        let mut entered = vec![false; rest.len()];
        for start in 0..rest.len() {
            let mut open = vec![(start, false)];
            while let Some((place, imported)) = open.pop() {
                if imported {
                    self.files.extend(rest[place].take());
                    continue;
                }
                let Some(file) = rest[place].as_ref().filter(|_| !entered[place]) else { continue };
                entered[place] = true;
                open.push((place, true));
                let imports = file.file.dependency.iter().filter_map(|name| places.get(name));
                open.extend(imports.map(|place| (*place, false)));
            }
        }
    }

    fn finish(self, linked: DescriptorPool) -> Pool {
        let files = self.files.into_iter().map(|file| {
            let bytes = file.bytes.unwrap_or_else(|| file.file.encode_to_vec().into());
            (file.file.name.unwrap_or_default(), bytes)
        });
        let files = files.collect();
        Pool(Arc::new(Inner { linked: Arc::new(linked), files, left_out: self.left_out }))
    }
}

/// Links files. A fault of the library over files of others is theirs as well.
fn linked<'a>(
    files: impl Iterator<Item = &'a FileDescriptorProto>,
) -> Result<DescriptorPool, String> {
    let set = FileDescriptorSet { file: files.cloned().collect(), ..Default::default() };
    match catch_unwind(AssertUnwindSafe(|| DescriptorPool::new(set))) {
        Ok(linked) => linked.map_err(|error| error.to_string()),
        Err(_) => Err("the descriptors cannot be linked".to_owned()),
    }
}

#[cfg(test)]
mod tests;
