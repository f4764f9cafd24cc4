//! A round trip to an echo server: what the machine and this client cost without a broker.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::pace::{Pacer, Schedule};
use super::report::{Latencies, LatencySummary};
use crate::cli::client::CLIENT_ID;
use crate::cli::exit::Outcome;
use crate::protocol::peer::Peer;
use crate::types::Clock;

/// Round trips that are measured.
const ROUND_TRIPS: u32 = 3000;
/// Round trips before, not measured.
const WARM_UP: u32 = 300;
/// Largest message: the echo answers small, as a broker does.
const ANSWER_BYTES: usize = 48;
/// The measurement takes at most this long, however small the rate.
const RATE_MIN: f64 = 500.0;

/// Round trips with messages of `size` bytes that are answered by small ones, at `rate` a second (as fast as they come, if none).
///
/// # Errors
/// If there is no loopback.
pub async fn echo(rate: Option<f64>, size: usize) -> Outcome<Option<LatencySummary>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || listener.accept().map(|(socket, _)| answer(socket)));
    let mut peer = Peer::connect_bare(&address, CLIENT_ID, Duration::from_secs(5)).await?;
    let mut frame = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    frame.resize(size + 4, 0);
    let clock = Clock::system();
    let pacer = Pacer::new()?;
    let mut latencies = Latencies::default();
    let schedule = rate.map(|rate| Schedule::new(clock.elapsed(), rate.max(RATE_MIN), 0, 1));
    for index in 0..ROUND_TRIPS + WARM_UP {
        let moment = schedule.map(|schedule| schedule.moment(index));
        if let Some(moment) = moment {
            pacer.until(moment).await?;
        }
        let since = moment.unwrap_or_else(|| clock.elapsed());
        peer.call_bytes(&frame).await?;
        if index >= WARM_UP {
            latencies.record(clock.elapsed().saturating_sub(since));
        }
    }
    Ok(latencies.summary())
}

/// Answers each message of one connection until it closes.
fn answer(mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut reply = u32::try_from(ANSWER_BYTES).unwrap_or_default().to_be_bytes().to_vec();
    reply.resize(ANSWER_BYTES + 4, 0);
    let mut message = Vec::new();
    loop {
        let mut prefix = [0; 4];
        socket.read_exact(&mut prefix)?;
        message.resize(usize::try_from(u32::from_be_bytes(prefix)).unwrap_or_default(), 0);
        socket.read_exact(&mut message)?;
        socket.write_all(&reply)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_measured_round_trip_is_counted() {
        let summary = echo(None, 100).await.unwrap().unwrap();
        assert_eq!(summary.count, u64::from(ROUND_TRIPS));
        assert!(summary.p50 > 0.0 && summary.p50 <= summary.max, "{summary:?}");
    }
}
