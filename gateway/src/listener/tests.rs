use super::testing::*;
use super::*;
use crate::config::{ClientCertificates, TlsConfig};
use futures_util::StreamExt;
use rustls::HandshakeKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

/// Of paused time, which costs none.
const HOUR: Duration = Duration::from_secs(3600);

fn tls(files: &Files) -> Option<Arc<Tls>> {
    Some(Arc::new(Tls::load(&files.config()).unwrap()))
}

#[tokio::test]
async fn a_request_knows_who_is_at_the_other_end() {
    let authority = Authority::new("clients");
    let files = Files::with(&authority.server(), Some(&authority));
    let (mut incoming, address) = listen(tls(&files), LimitsConfig::default()).await;
    let orders = authority.client("orders");
    let connecting = connect(client(authority.roots(), Some(&orders)), address);
    let (stream, connection) = tokio::join!(connecting, next(&mut incoming));
    let stream = stream.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let peer = connection.connect_info();
    assert_eq!(peer.address, stream.get_ref().0.local_addr().unwrap());
    assert_eq!(peer.certificate.unwrap().subject, "CN=orders");
}

#[tokio::test]
async fn only_clients_of_the_authority_are_let_in() {
    let (authority, foreign) = (Authority::new("clients"), Authority::new("clients"));
    let files = Files::with(&authority.server(), Some(&authority));
    let good = authority.client("orders");
    let late = authority.sign(&expired(client_params("orders")));
    let stranger = foreign.client("orders");
    // One for servers only does not make a client.
    let mut params = client_params("orders");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let other_use = authority.sign(&params);
    for (clients, with_none) in
        [(ClientCertificates::Required, false), (ClientCertificates::Optional, true)]
    {
        let config = TlsConfig { client_certificates: clients, ..files.config() };
        let tls = Some(Arc::new(Tls::load(&config).unwrap()));
        let (mut incoming, address) = listen(tls, LimitsConfig::default()).await;
        for (name, own, expected) in [
            ("good", Some(&good), true),
            ("none", None, with_none),
            ("expired", Some(&late), false),
            ("foreign", Some(&stranger), false),
            ("another use", Some(&other_use), false),
        ] {
            let client = client(authority.roots(), own);
            let entered = let_in(client, address, &mut incoming).await;
            assert_eq!(entered, expected, "{name}, {clients:?}");
        }
    }
}

#[tokio::test]
async fn who_comes_again_is_verified_again() {
    let authority = Authority::new("clients");
    let own = authority.client("orders");
    for (clients, expected) in
        [(Some(&authority), HandshakeKind::Full), (None, HandshakeKind::Resumed)]
    {
        let files = Files::with(&authority.server(), clients);
        let (mut incoming, address) = listen(tls(&files), LimitsConfig::default()).await;
        let config = client(authority.roots(), Some(&own));
        assert!(let_in(config.clone(), address, &mut incoming).await);
        let connecting = connect(config, address);
        let (stream, _connection) = tokio::join!(connecting, next(&mut incoming));
        assert_eq!(stream.unwrap().get_ref().1.handshake_kind(), Some(expected));
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_has_none() {
    let authority = Authority::new("clients");
    let files = Files::with(&authority.server(), None);
    let (mut incoming, address) = listen(tls(&files), LimitsConfig::default()).await;
    // It is not even asked for one.
    let own = authority.client("orders");
    let connecting = connect(client(authority.roots(), Some(&own)), address);
    let (stream, connection) = tokio::join!(connecting, next(&mut incoming));
    stream.unwrap();
    assert!(connection.connect_info().certificate.is_none());
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_holds_up_nobody() {
    let authority = Authority::new("servers");
    let files = Files::with(&authority.server(), None);
    let (mut incoming, address) = listen(tls(&files), LimitsConfig::default()).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The beginning of a record of TLS.
        stream.write_all(&[22, 3, 1]).await.unwrap();
        silent.push(stream);
    }
    assert!(let_in(client(authority.roots(), None), address, &mut incoming).await);
}

/// What a client hears that sends only these bytes, in paused time.
async fn ended(mut incoming: Incoming, address: SocketAddr, bytes: &[u8]) -> std::io::ErrorKind {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let waiting = async {
        let mut connection = next(&mut incoming).await;
        let mut all = Vec::new();
        let error = connection.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(all, bytes);
        error.kind()
    };
    tokio::select! {
        // A handshake that fails never gets so far.
        kind = waiting => kind,
        read = stream.read_u8() => read.unwrap_err().kind(),
        () = tokio::time::sleep(HOUR) => panic!("it was not cut off"),
    }
}

#[tokio::test(start_paused = true)]
async fn who_begins_no_request_is_cut_off() {
    let (incoming, address) = listen(None, LimitsConfig::default()).await;
    let kind = ended(incoming, address, b"PRI * HTTP/2.0").await;
    assert_eq!(kind, std::io::ErrorKind::TimedOut);
    let authority = Authority::new("servers");
    let files = Files::with(&authority.server(), None);
    let (incoming, address) = listen(tls(&files), LimitsConfig::default()).await;
    let kind = ended(incoming, address, &[22, 3, 1]).await;
    assert_ne!(kind, std::io::ErrorKind::TimedOut, "the socket is closed");
}

#[tokio::test(start_paused = true)]
async fn who_has_begun_a_request_may_take_its_time() {
    let (mut incoming, address) = listen(None, LimitsConfig::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut connection = next(&mut incoming).await;
    let mut read = [0; 24];
    connection.read_exact(&mut read).await.unwrap();
    let silent = tokio::time::timeout(HOUR, connection.read_u8());
    assert!(silent.await.is_err(), "it is the server's turn to look after it");
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_cut_off() {
    let (mut incoming, address) = listen(None, LimitsConfig::default()).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut connection = next(&mut incoming).await;
    // More than the system takes on its own account.
    let all = vec![0; 64 << 20];
    let written = tokio::time::timeout(HOUR, connection.write_all(&all)).await;
    let error = written.expect("it was not cut off").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let limits = LimitsConfig { connections_per_address: Some(2), ..LimitsConfig::default() };
    let (mut incoming, address) = listen(None, limits).await;
    let (_a, _b) = (TcpStream::connect(address).await, TcpStream::connect(address).await);
    let (first, _second) = (next(&mut incoming).await, next(&mut incoming).await);
    let mut third = TcpStream::connect(address).await.unwrap();
    tokio::select! {
        _ = incoming.next() => panic!("there is no place for it"),
        read = third.read_u8() => assert!(read.is_err()),
    }
    drop(first);
    let _fourth = TcpStream::connect(address).await.unwrap();
    next(&mut incoming).await;
}

#[tokio::test]
async fn of_http_1_little_is_read_at_once() {
    for begin in ["POST / HTTP/1.1\r\nhost: a\r\n", "PROPFIND / HTTP/1.1\r\n\r\n\r\n"] {
        let (mut incoming, address) = listen(None, LimitsConfig::default()).await;
        let mut caller = TcpStream::connect(address).await.unwrap();
        let mut connection = next(&mut incoming).await;
        for byte in begin.as_bytes() {
            caller.write_all(&[*byte]).await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), *byte);
        }
        let (mut rest, sent) = (vec![0; 256 * 1024], vec![b'x'; 256 * 1024]);
        let sending = tokio::spawn(async move { caller.write_all(&sent).await.map(|()| caller) });
        let mut all = 0;
        while all < rest.len() {
            let read = connection.read(&mut rest).await.unwrap();
            assert!((1..16 * 1024).contains(&read), "{read}");
            assert!(rest[..read].iter().all(|byte| *byte == b'x'));
            all += read;
        }
        sending.await.unwrap().unwrap();
    }
}
