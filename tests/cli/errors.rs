//! Exit codes and the texts of errors, where no broker is needed.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::program::run;

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A listener that answers the first connection's first bytes with `answer` and closes.
fn impostor(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 512];
        let _ = socket.read(&mut request);
        let _ = socket.write_all(answer);
    });
    address
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for args in [
        &["topic", "create"][..],
        &["topic", "frobnicate"],
        &["topic", "create", "x", "-c", "novalue"],
        &["topic", "alter", "x"],
        &["topic", "consume", "x", "-f", "%q"],
        &["topic", "consume", "x", "--from", "soon"],
        &["topic", "produce", "x", "-z", "lzma"],
        &["perf", "produce", "--rate", "0"],
        &["topic", "list", "-b", ","],
    ] {
        let ended = run(args);
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.stdout.is_empty() && ended.stderr.starts_with("error: "), "{args:?}: {ended:?}");
    }
}

#[test]
fn deleting_without_a_terminal_needs_yes_and_asks_before_it_connects() {
    let ended = run(&["topic", "delete", "orders", "-b", &nobody()]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(
        ended.stderr,
        "error: would delete orders and all records in it: this needs --yes, or a terminal to ask\n\
         help: add --yes if you mean it\n"
    );
}

#[test]
fn a_broker_that_is_not_there_ends_with_69_and_names_a_cure() {
    let address = nobody();
    for args in [
        &["cluster"][..],
        &["cluster", "health"],
        &["topic", "list"],
        &["topic", "create", "x"],
        &["topic", "produce", "x"],
        &["topic", "consume", "x"],
        &["perf", "produce"],
    ] {
        let args: Vec<&str> = args.iter().copied().chain(["-b", &address]).collect();
        let ended = run(&args);
        assert_eq!(ended.code, 69, "{args:?}: {ended:?}");
        assert_eq!(
            ended.stderr,
            format!(
                "error: {address}: connection refused\n\
                 help: start a broker there: ketcd dev\n      \
                 or name another one: -b HOST:PORT, or KETCD_BROKERS=HOST:PORT\n"
            )
        );
    }
}

#[test]
fn what_is_not_a_plain_kafka_listener_is_named() {
    for (answer, cause, cure) in [
        (&b"\x15\x03\x03\x00\x02\x02\x50"[..], "answered with TLS", "PLAINTEXT listener"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered with HTTP", "Kafka port"),
        (b"", "closed the connection", "TLS or SASL"),
    ] {
        let ended = run(&["cluster", "-b", &impostor(answer)]);
        assert_eq!(ended.code, 69, "{ended:?}");
        assert!(ended.stderr.contains(cause) && ended.stderr.contains(cure), "{ended:?}");
    }
}

#[test]
fn metadata_that_is_not_there_ends_with_69() {
    let ended = run(&["meta", "get", "--etcd", &format!("http://{}", nobody()), "--timeout", "2s"]);
    assert_eq!(ended.code, 69, "{ended:?}");
    assert!(ended.stderr.contains("help: `ketcd dev"), "{}", ended.stderr);
}
