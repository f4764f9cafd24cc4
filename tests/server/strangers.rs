//! Peers that do not speak Kafka, and requests that go wrong.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use socket2::{Domain, Socket, Type};

use crate::service::{CLOSE, ECHO, LATER, PANIC, PANIC_LATER, options, request, start, wait_until};

#[test]
fn other_protocols_and_impossible_lengths_are_closed_without_an_answer() {
    let running = start(options());
    let openings: [&[u8]; 11] = [
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
        b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n",
        b"POST /topics HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        &[0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x00, 0x00, 0x00, 1, 2, 3],
        &[0x7f, 0xff, 0xff, 0xff, 1, 2, 3],
        &[0, 0, 0, 0],
        &[0, 0, 0, 3, 1, 2, 3],
    ];
    for opening in openings {
        let mut client = running.connect();
        client.send(opening);
        assert!(client.is_closed(), "{opening:?}");
    }
    assert_eq!(running.service.calls(), 0);
    wait_until("all are gone", || running.server.connections() == 0);
}

#[test]
fn a_panic_in_a_handler_ends_its_connection_only() {
    let running = start(options());
    let mut bystander = running.connect();
    for kind in [PANIC, PANIC_LATER] {
        let mut client = running.connect();
        client.send(&request(1, ECHO, 0, 0));
        assert_eq!(client.reply().0, 1);
        client.send(&request(2, kind, 0, 0));
        assert!(client.is_closed());
        bystander.send(&request(3, ECHO, 0, 0));
        assert_eq!(bystander.reply().0, 3);
    }
    wait_until("only the bystander is left", || running.server.connections() == 1);
    wait_until("all memory is given back", || running.server.queued_bytes() == 0);
}

#[test]
fn answers_that_are_due_leave_before_the_server_closes() {
    let running = start(options());
    let mut client = running.connect();
    let burst =
        [request(1, LATER, 100, 0), request(2, ECHO, 0, 0), request(3, CLOSE, 0, 0), request(4, ECHO, 0, 0)];
    client.send(&burst.concat());
    assert_eq!([client.reply().0, client.reply().0], [1, 2]);
    assert!(client.is_closed());
    assert_eq!(running.service.calls(), 3);
}

#[test]
fn a_client_that_half_closes_gets_its_answers() {
    let running = start(options());
    let mut client = running.connect();
    client.send(&[request(1, LATER, 100, 0), request(2, ECHO, 0, 0)].concat());
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!([client.reply().0, client.reply().0], [1, 2]);
    assert!(client.is_closed());
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_tls_client_gets_one_line_a_second_that_says_what_it_spoke_and_the_cure() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).init();
    let running = start(options());
    // An address of its own: other tests misbehave from 127.0.0.1.
    let peer = "127.7.7.7";
    for _ in 0..40 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&format!("{peer}:0").parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        socket.connect(&running.address.into()).unwrap();
        let mut stream: std::net::TcpStream = socket.into();
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc]).unwrap();
        let _ = stream.read(&mut [0; 1]);
    }
    wait_until("all are gone", || running.server.connections() == 0);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(peer)).collect();
    assert!((1..40).contains(&lines.len()), "{lines:?}");
    for part in ["spoke TLS", "listener=PLAINTEXT", "security.protocol=PLAINTEXT", "WARN"] {
        assert!(lines[0].contains(part), "{part} is missing in {}", lines[0]);
    }
}
