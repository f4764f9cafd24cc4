//! Peers that do not speak Kafka, and requests that go wrong.

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
    assert_eq!(running.server.queued_bytes(), 0);
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
