use super::*;
use crate::config::LimitsConfig;
use crate::listener::testing::*;

fn mistakes(files: &Files) -> Vec<String> {
    let mistakes = Tls::load(&files.config()).unwrap_err();
    mistakes.iter().map(|mistake| format!("{}: {}", mistake.setting, mistake.problem)).collect()
}

#[test]
fn every_mistake_is_found_at_once() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let files = Files::with(&authority.server(), Some(&authority));
    assert!(check(&files.config()).is_ok());
    files.write("server.key", &other.server().key);
    assert_eq!(mistakes(&files).len(), 1);
    assert!(mistakes(&files)[0].starts_with("tls.key: "), "{:?}", mistakes(&files));
    files.write("server.pem", "no PEM");
    files.write("server.key", "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n");
    std::fs::write(files.path("clients.pem"), "").unwrap();
    let found = mistakes(&files);
    let settings: Vec<_> = found.iter().filter_map(|text| text.split(": ").next()).collect();
    assert_eq!(settings, ["tls.certificate", "tls.key", "tls.client_ca"], "{found:?}");
}

#[test]
fn a_certificate_that_has_expired_is_no_mistake() {
    let authority = Authority::new("a");
    let files = Files::with(&authority.sign(&expired(params("localhost"))), None);
    assert!(check(&files.config()).is_ok());
}

/// The serial number says which certificate a client was shown.
async fn shown(tls: &Arc<Tls>, authority: &Authority) -> Vec<u8> {
    let (mut incoming, address) = listen(Some(tls.clone()), LimitsConfig::default()).await;
    let connecting = connect(client(authority.roots(), None), address);
    let (stream, _connection) = tokio::join!(connecting, next(&mut incoming));
    stream.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn new_files_are_used_and_broken_ones_are_not() {
    let authority = Authority::new("a");
    let (old, new) = (authority.server(), authority.server());
    let files = Files::with(&old, None);
    let tls = Arc::new(Tls::load(&files.config()).unwrap());
    let first = shown(&tls, &authority).await;
    assert!(!tls.look(), "nothing has changed");
    // Certificate and key do not come at the same moment.
    files.write("server.pem", &new.certificate);
    assert!(!tls.look());
    assert_eq!(shown(&tls, &authority).await, first);
    files.write("server.key", &new.key);
    assert!(tls.look());
    let second = shown(&tls, &authority).await;
    assert_ne!(second, first);
    std::fs::remove_file(files.path("server.key")).unwrap();
    assert!(!tls.look());
    assert_eq!(shown(&tls, &authority).await, second);
    files.write("server.key", &new.key);
    assert!(tls.look());
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_from_time_to_time_and_when_told() {
    for told in [false, true] {
        let authority = Authority::new("a");
        let files = Files::with(&authority.server(), None);
        let tls = Arc::new(Tls::load(&files.config()).unwrap());
        let before = tls.current.read().unwrap().clone();
        let keeping = tokio::spawn(tls.clone().keep());
        let new = authority.server();
        files.write("server.pem", &new.certificate);
        files.write("server.key", &new.key);
        let begun = tokio::time::Instant::now();
        if told {
            tls.read_again();
        }
        let exchanged = || !Arc::ptr_eq(&before, &tls.current.read().unwrap());
        while !exchanged() {
            // Time is paused: this costs none.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let at_once = begun.elapsed() < std::time::Duration::from_secs(5);
        assert_eq!(at_once, told);
        keeping.abort();
    }
}

#[tokio::test]
async fn another_authority_of_clients_counts_from_the_next_handshake_on() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::with(&old.server(), Some(&old));
    let tls = Arc::new(Tls::load(&files.config()).unwrap());
    let (mut incoming, address) = listen(Some(tls.clone()), LimitsConfig::default()).await;
    let (of_old, of_new) = (old.client("c"), new.client("c"));
    let of_old = client(old.roots(), Some(&of_old));
    let of_new = client(old.roots(), Some(&of_new));
    assert!(let_in(of_old.clone(), address, &mut incoming).await);
    assert!(!let_in(of_new.clone(), address, &mut incoming).await);
    files.write("clients.pem", &new.pem());
    assert!(tls.look());
    // The same client: a session that it could take up again would let it in.
    assert!(!let_in(of_old, address, &mut incoming).await);
    assert!(let_in(of_new, address, &mut incoming).await);
}
