//! Starting and stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ketcd::server::{ListenerOptions, Server, ServerError, ServerOptions, Stopped, Threading};

use crate::service::{ECHO, GATED, PATIENCE, TestService, block_on, options, request, start, wait_until};

#[test]
fn a_shutdown_lets_answers_leave_and_refuses_new_connections() {
    let running = start(options());
    let mut waiting = running.connect();
    let mut idle = running.connect();
    waiting.send(&request(1, GATED, 0, 0));
    wait_until("it waits", || running.service.calls() == 1 && running.server.connections() == 2);
    std::thread::scope(|scope| {
        let shutdown = scope.spawn(|| block_on(running.server.shutdown(PATIENCE)));
        assert!(idle.is_closed());
        running.service.gate.add_permits(1);
        assert_eq!(waiting.reply().0, 1);
        assert!(waiting.is_closed());
        drop((idle, waiting));
        assert_eq!(shutdown.join().unwrap(), Stopped { cut_off: 0 });
    });
    assert!(std::net::TcpStream::connect(running.address).is_err());
    assert_eq!(running.server.connections(), 0);
}

#[test]
fn an_answer_that_never_comes_is_cut_off_after_the_grace() {
    let running = start(options());
    let mut client = running.connect();
    client.send(&request(1, GATED, 0, 0));
    wait_until("it waits", || running.service.calls() == 1);
    let begin = Instant::now();
    block_on(running.server.shutdown(Duration::from_millis(100)));
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(client.is_closed());
    assert_eq!(running.server.connections(), 0);
}

#[test]
fn a_taken_port_is_an_error_that_says_by_whom() {
    let running = start(options());
    let listener =
        ListenerOptions { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: running.address.port() };
    let error = Server::start(ServerOptions::new(vec![listener]), TestService::new()).unwrap_err();
    assert!(matches!(error, ServerError::PortTaken { .. }));
    let text = error.to_string();
    assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
}

#[test]
fn several_listeners_serve_at_once() {
    let listener = |name: &str| ListenerOptions { name: name.into(), host: "localhost".into(), port: 0 };
    let options = ServerOptions::new(vec![listener("INTERNAL"), listener("EXTERNAL")]);
    let server = Server::start(options, TestService::new()).unwrap();
    let names: Vec<_> = server.listeners().iter().map(|bound| bound.name.to_string()).collect();
    assert_eq!(names, ["INTERNAL", "EXTERNAL"]);
    for bound in server.listeners() {
        let mut client = crate::service::Client::connect(bound.address);
        client.send(&request(1, ECHO, 0, 0));
        assert_eq!(client.reply().0, 1);
    }
}

#[test]
fn every_data_thread_calls_the_hook_first() {
    for threading in [Threading::PerThread, Threading::Shared] {
        let started = Arc::new(AtomicUsize::new(0));
        let count = started.clone();
        let hook = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let _running = start(ServerOptions { threading, on_thread_start: Some(hook), ..options() });
        wait_until("two threads have started", || started.load(Ordering::SeqCst) >= 2);
    }
}

#[test]
fn the_data_threads_show_that_they_work() {
    let running = start(options());
    assert!(block_on(running.server.responds_within(PATIENCE)));
    block_on(running.server.shutdown(Duration::ZERO));
    assert!(!block_on(running.server.responds_within(Duration::from_millis(50))));
}

#[test]
fn connections_are_spread_over_the_data_threads() {
    let running = start(options());
    let mut clients: Vec<_> = (0..8).map(|_| running.connect()).collect();
    for client in &mut clients {
        client.send(&request(1, ECHO, 0, 0));
        assert_eq!(client.reply().0, 1);
    }
    assert_eq!(running.server.connections(), 8);
    drop(clients);
    wait_until("all are gone", || running.server.connections() == 0);
}
