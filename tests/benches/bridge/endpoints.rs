//! The endpoints that stand in for SQS.

mod fauxqs;

use crate::Failure;
use fauxqs::Fauxqs;
use queuebridge_tests::Emulator;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The most faithful one, in Python.
    Ministack,
    /// The fastest one.
    Fauxqs,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Ministack, Self::Fauxqs];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ministack => "ministack",
            Self::Fauxqs => "fauxqs",
        }
    }
}

/// One of them, running. It ends with this value, or with this process.
pub(crate) struct Running {
    kind: Kind,
    url: String,
    _process: Process,
}

enum Process {
    Ministack(#[expect(dead_code, reason = "it ends when it is dropped")] Emulator),
    Fauxqs(#[expect(dead_code, reason = "it ends when it is dropped")] Fauxqs),
}

impl Running {
    /// Installs it below the target directory, when it is not there yet, and
    /// starts it.
    pub(crate) async fn start(kind: Kind) -> Result<Self, Failure> {
        Ok(match kind {
            Kind::Ministack => {
                // Not the shared one: queues and tables of the last measurement, and what
                // polled them, would take part in the next.
                let emulator = Emulator::start().await;
                let url = emulator.endpoint().to_owned();
                Self { kind, url, _process: Process::Ministack(emulator) }
            }
            Kind::Fauxqs => {
                let process = Fauxqs::start().await?;
                Self { kind, url: process.url().to_owned(), _process: Process::Fauxqs(process) }
            }
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
