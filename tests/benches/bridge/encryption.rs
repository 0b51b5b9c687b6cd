//! (i): what encryption adds to a message of a queue, and to what rests in a store: one
//! core seals and opens envelopes, with a data key and without.

use crate::Failure;
use crate::args::Args;
use crate::load::{self, Caller};
use crate::report::{Row, Table};
use queuebridge_proto::Keyring;
use queuebridge_proto::v1::Call;
use queuebridge_proto::v1::call::Payload;
use queuebridge_store::encryption::{Encryption, LocalKey, Seal, Writes};
use std::sync::Arc;

/// Of a request.
const SIZES: [usize; 3] = [256, 4 << 10, 256 << 10];

/// Seals a call and opens it again.
struct Sealer {
    seal: Seal,
    call: Call,
}

impl Sealer {
    fn new(size: usize, encrypted: bool) -> Self {
        let key = LocalKey::new("local:a", [1; 32].into(), "bench");
        let encryption = || Encryption::new(vec![Arc::new(key)], Writes::Own, true);
        let seal = Seal::new(Keyring::single(&[2; 32]), encrypted.then(encryption));
        // Bytes that do not compress: compression is none of what is measured.
        let mut state = 1u64;
        let byte = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        let request: Vec<u8> = (0..size).map(byte).collect();
        let method = "/queuebridge.demo.v1.Probe/Echo".to_owned();
        let payload = Some(Payload::Request(request.into()));
        Self { seal, call: Call { method, payload, ..Call::default() } }
    }
}

impl Caller for Sealer {
    async fn call(&mut self) -> Result<u64, String> {
        let body = self.seal.seal(&self.call).await.map_err(|error| error.to_string())?;
        let opened = self.seal.open::<Call>(&body).await.map_err(|error| error.to_string())?;
        // Otherwise nothing would let the measurement end.
        tokio::task::yield_now().await;
        if opened == self.call { Ok(1) } else { Err("another call".to_owned()) }
    }
}

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    for size in SIZES {
        let mut rows = ["(i) signed", "(i) encrypted"].map(Row::new);
        for _ in 0..args.rounds {
            for (encrypted, row) in [false, true].into_iter().zip(&mut rows) {
                row.add(load::run(args, vec![Sealer::new(size, encrypted)], None).await?);
            }
        }
        let title = format!("Envelopes of {size} bytes, sealed and opened");
        let reference = rows[0].rate();
        Table { title: &title, unit: "of signed", reference, rows: rows.into() }.print();
    }
    Ok(())
}
