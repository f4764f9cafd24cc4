//! What a client can make the server hold.

use std::time::Duration;

use ketcd::server::ServerOptions;
use ketcd::telemetry::process;

use crate::service::{BIG_ANSWER, ECHO, GATED, options, request, start, stays, wait_until};

#[test]
fn a_connection_has_no_more_requests_in_flight_than_allowed() {
    let running = start(ServerOptions { requests_in_flight_max: 5, ..options() });
    let mut client = running.connect();
    for n in 0..20 {
        client.send(&request(n, GATED, 0, 0));
    }
    wait_until("five were started", || running.service.calls() == 5);
    stays("only five are started", || running.service.calls() == 5);
    running.service.gate.add_permits(20);
    for n in 0..20 {
        assert_eq!(client.reply().0, n);
    }
}

#[test]
fn a_connection_has_no_more_bytes_in_flight_than_allowed() {
    let running = start(ServerOptions { bytes_in_flight_max: 250_000, ..options() });
    let mut client = running.connect();
    let mut sender = client.0.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..10 {
                std::io::Write::write_all(&mut sender, &request(n, GATED, 0, 100_000)).unwrap();
            }
        });
        wait_until("three were started", || running.service.calls() == 3);
        stays("only three are started", || running.service.calls() == 3);
        running.service.gate.add_permits(10);
        for n in 0..10 {
            assert_eq!(client.reply().0, n);
        }
    });
}

#[test]
fn an_exhausted_budget_stops_reading_until_memory_is_free() {
    let running = start(ServerOptions { queued_bytes_max: 300_000, ..options() });
    let mut first = running.connect();
    first.send(&request(1, GATED, 0, 200_000));
    wait_until("the first holds its memory", || running.service.calls() == 1);
    let mut second = running.connect();
    second.send(&request(2, ECHO, 0, 200_000));
    stays("the second waits", || running.service.calls() == 1);
    assert!(running.server.queued_bytes() <= 300_000);
    running.service.gate.add_permits(1);
    assert_eq!(first.reply().0, 1);
    assert_eq!(second.reply().0, 2);
    wait_until("all memory is given back", || running.server.queued_bytes() == 0);
}

#[test]
fn a_connection_that_ends_gives_its_memory_back() {
    let running = start(ServerOptions { queued_bytes_max: 1 << 20, ..options() });
    let mut client = running.connect();
    let frame = request(1, ECHO, 0, 900_000);
    client.send(&frame[..500_000]);
    wait_until("the frame holds its memory", || running.server.queued_bytes() > 900_000);
    drop(client);
    wait_until("it is given back", || running.server.queued_bytes() == 0);
    let mut next = running.connect();
    next.send(&request(2, ECHO, 0, 900_000));
    assert_eq!(next.reply().0, 2);
}

#[test]
fn a_frame_larger_than_the_budget_or_the_limit_closes_the_connection() {
    let running = start(ServerOptions { queued_bytes_max: 100_000, request_bytes_max: 200_000, ..options() });
    for length in [100_001u32, 200_001] {
        let mut client = running.connect();
        client.send(&length.to_be_bytes());
        client.send(&[0; 4]);
        assert!(client.is_closed());
    }
    assert_eq!(running.service.calls(), 0);
}

#[test]
fn a_client_that_never_reads_is_given_a_bounded_amount() {
    let running = start(ServerOptions { bytes_in_flight_max: 1 << 20, ..options() });
    let mut client = running.connect();
    // 2,000 answers of 256 KiB are 500 MiB: nobody may hold them.
    for n in 0..2_000 {
        client.send(&request(n, BIG_ANSWER, 256, 0));
    }
    wait_until("some were started", || running.service.calls() >= 4);
    // Standing still: no call for a while. The kernel's socket buffers take some megabytes first.
    let mut calls = 0;
    while calls != running.service.calls() {
        calls = running.service.calls();
        std::thread::park_timeout(Duration::from_millis(200));
    }
    assert!(calls < 200, "{calls} answers were made for a client that does not read");
    assert!(process::usage().resident_bytes.unwrap() < 200 << 20);
    for n in 0..2_000 {
        let (correlation, rest) = client.reply();
        assert_eq!((correlation, rest.len()), (n, 256 << 10));
    }
}

#[test]
fn one_address_has_no_more_connections_than_allowed() {
    let running = start(ServerOptions { connections_per_ip_max: 2, ..options() });
    let mut first = running.connect();
    let mut second = running.connect();
    for client in [&mut first, &mut second] {
        client.send(&request(1, ECHO, 0, 0));
        assert_eq!(client.reply().0, 1);
    }
    assert!(running.connect().is_closed());
    drop(first);
    wait_until("there is room", || running.server.connections() == 1);
    let mut third = running.connect();
    third.send(&request(3, ECHO, 0, 0));
    assert_eq!(third.reply().0, 3);
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_or_waiting_one_is_not() {
    let running = start(ServerOptions { idle_timeout: Duration::from_millis(400), ..options() });
    let mut idle = running.connect();
    let mut waiting = running.connect();
    let mut busy = running.connect();
    waiting.send(&request(1, GATED, 0, 0));
    std::thread::scope(|scope| {
        let idle = scope.spawn(move || idle.is_closed());
        let mut n = 0;
        while !idle.is_finished() || n < 20 {
            busy.send(&request(n, ECHO, 0, 0));
            assert_eq!(busy.reply().0, n);
            n += 1;
            std::thread::park_timeout(Duration::from_millis(50));
        }
        assert!(idle.join().unwrap());
    });
    running.service.gate.add_permits(1);
    assert_eq!(waiting.reply().0, 1);
}

#[test]
fn a_frame_that_is_begun_and_never_ends_closes_the_connection() {
    let running = start(ServerOptions { frame_timeout: Duration::from_millis(200), ..options() });
    let mut client = running.connect();
    client.send(&request(1, ECHO, 0, 100)[..40]);
    assert!(client.is_closed());
    wait_until("its memory is given back", || running.server.queued_bytes() == 0);
}
