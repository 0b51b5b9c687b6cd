//! The emulator can be reached from this machine only.

use queuebridge_tests::{Emulator, sockets};

#[tokio::test]
async fn the_emulator_listens_on_no_other_interface() {
    Emulator::shared().await;
    assert_eq!(sockets::beyond_loopback(), Vec::<String>::new());
}
