//! Replies leave in the order of requests, whatever the service and the socket do.

use std::time::Instant;

use ketcd::server::{ServerOptions, Threading};
use ketcd::types::random;

use crate::service::{ECHO, ECHO_ALL, GATED, LATER, SILENT, options, request, start, wait_until};

#[test]
fn replies_keep_the_order_of_requests_under_random_delays() {
    for threading in [Threading::PerThread, Threading::Shared] {
        let running = start(ServerOptions { threading, ..options() });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = running.connect();
                    let mut sender = crate::service::Client(client.0.try_clone().unwrap());
                    scope.spawn(move || {
                        for n in 0..500 {
                            let kind = if random::below(2) == 0 { LATER } else { ECHO };
                            let delay = u16::try_from(random::below(8)).unwrap();
                            sender.send(&request(n, kind, delay, usize::from(delay) * 100));
                        }
                    });
                    for n in 0..500 {
                        assert_eq!(client.reply().0, n);
                    }
                });
            }
        });
    }
}

#[test]
fn the_next_request_starts_while_the_first_still_waits_for_its_answer() {
    let running = start(options());
    let mut client = running.connect();
    client.send(&[request(0, GATED, 0, 0), request(1, ECHO, 0, 0), request(2, ECHO, 0, 0)].concat());
    wait_until("all three were started", || running.service.calls() == 3);
    running.service.gate.add_permits(1);
    assert_eq!([client.reply().0, client.reply().0, client.reply().0], [0, 1, 2]);
}

#[test]
fn a_silent_request_leaves_no_hole_in_the_order() {
    let running = start(options());
    let mut client = running.connect();
    client.send(&[request(0, SILENT, 0, 0), request(1, ECHO, 0, 0), request(2, SILENT, 0, 0)].concat());
    client.send(&request(3, ECHO, 0, 0));
    assert_eq!([client.reply().0, client.reply().0], [1, 3]);
    assert_eq!(running.service.calls(), 4);
}

#[test]
fn a_request_that_arrives_byte_by_byte_is_understood() {
    let running = start(options());
    let mut client = running.connect();
    for byte in request(7, ECHO_ALL, 0, 20) {
        client.send(&[byte]);
    }
    let (correlation, echo) = client.reply();
    assert_eq!((correlation, echo.len()), (7, 31));
    wait_until("its memory is given back", || running.server.queued_bytes() == 0);
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order() {
    let running = start(options());
    let mut client = running.connect();
    let mut sender = client.0.try_clone().unwrap();
    let all: Vec<u8> = (0..10_000).flat_map(|n| request(n, ECHO, 0, (n % 90) as usize)).collect();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut sender, &all).unwrap());
        for n in 0..10_000 {
            assert_eq!(client.reply().0, n);
        }
    });
    assert_eq!(running.service.calls(), 10_000);
}

#[test]
fn frames_of_every_size_come_back_unchanged() {
    let running = start(options());
    let mut client = running.connect();
    let mut sender = client.0.try_clone().unwrap();
    let sizes = [0, 1, 100, 16_370, 16_384, 65_536, 70_000, 262_144, 1, 1 << 20, 3 << 20, 5, 9 << 20];
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (n, size) in sizes.iter().enumerate() {
                let mut frame = request(n as i32, ECHO_ALL, 0, *size);
                for (place, byte) in frame.iter_mut().enumerate().skip(15) {
                    *byte = (place % 251) as u8;
                }
                std::io::Write::write_all(&mut sender, &frame).unwrap();
            }
        });
        for (n, size) in sizes.iter().enumerate() {
            let (correlation, echo) = client.reply();
            assert_eq!((correlation, echo.len()), (n as i32, size + 11));
            assert!(echo[11..].iter().enumerate().all(|(place, byte)| *byte == ((place + 15) % 251) as u8));
        }
    });
    wait_until("all memory is given back", || running.server.queued_bytes() == 0);
}

/// Not a benchmark: a guard against a hidden wait (a Nagle delay of 40 ms would show here).
#[test]
fn one_thousand_round_trips_hide_no_wait() {
    let running = start(options());
    let mut client = running.connect();
    let start = Instant::now();
    for n in 0..1_000 {
        client.send(&request(n, ECHO, 0, 0));
        assert_eq!(client.reply().0, n);
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
