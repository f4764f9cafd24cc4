//! Binding listeners, and saying what is wrong when that fails.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::options::ListenerOptions;
use crate::telemetry::process::{self, Holder};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is nothing to listen on.
    #[error("no listener is configured: set listeners, e.g. PLAINTEXT://localhost:9092")]
    NoListener,
    /// The host of a listener has no address here.
    #[error("listener {listener}: host {host:?} cannot be resolved: {source}")]
    Resolve {
        /// Name of the listener.
        listener: Arc<str>,
        /// The host as configured.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("listener {listener}: port {} of {} is taken{}: stop it, or listen on another port", address.port(), address.ip(), by(holder.as_ref()))]
    PortTaken {
        /// Name of the listener.
        listener: Arc<str>,
        /// The address that is taken.
        address: SocketAddr,
        /// By whom, if the kernel tells.
        holder: Option<Holder>,
    },
    /// The port is one that only root may bind.
    #[error(
        "listener {listener}: binding {address} is not permitted: ports below 1024 need root or CAP_NET_BIND_SERVICE"
    )]
    NotPermitted {
        /// Name of the listener.
        listener: Arc<str>,
        /// The address.
        address: SocketAddr,
    },
    /// The address is none of this machine's.
    #[error("listener {listener}: {} is no address of this machine: bind 0.0.0.0 and put the name that clients use in advertised.listeners", address.ip())]
    NotOurAddress {
        /// Name of the listener.
        listener: Arc<str>,
        /// The address.
        address: SocketAddr,
    },
    /// Binding failed otherwise.
    #[error("listener {listener}: cannot listen on {address}: {source}")]
    Bind {
        /// Name of the listener.
        listener: Arc<str>,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or its runtime could not be started.
    #[error("cannot start thread {name}: {source}")]
    Thread {
        /// Name of the thread.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

fn by(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |holder| format!(" by {} (pid {})", holder.program, holder.pid))
}

/// A listener that is bound.
#[derive(Debug, Clone)]
pub struct BoundListener {
    /// Its name.
    pub name: Arc<str>,
    /// Its address, with the port that the system chose if 0 was asked for. The first one, if its host has several.
    pub address: SocketAddr,
}

/// Binds a listener to every address of its host. Returns the first address and all sockets, not blocking.
pub(super) fn bind(
    options: &ListenerOptions,
    backlog: i32,
) -> Result<(BoundListener, Vec<TcpListener>), ServerError> {
    let mut addresses = addresses_of(options)?.into_iter();
    let Some(first) = addresses.next() else { return Err(ServerError::NoListener) };
    let first_socket = match open(first, backlog) {
        // A kernel without IPv6 has no wildcard of it.
        Err(error) if options.host.is_empty() && first.is_ipv6() && !is_taken(&error) => {
            let address = SocketAddr::from(([0, 0, 0, 0], options.port));
            open(address, backlog).map_err(|error| refused(options, address, error))?
        }
        other => other.map_err(|error| refused(options, first, error))?,
    };
    let address = first_socket.local_addr().map_err(|error| refused(options, first, error))?;
    let mut sockets = vec![first_socket];
    for mut other in addresses {
        other.set_port(address.port());
        match open(other, backlog) {
            Ok(socket) => sockets.push(socket),
            Err(error) if options.port != 0 && is_taken(&error) => {
                return Err(refused(options, other, error));
            }
            // `localhost` has ::1 in many a hosts file of machines without IPv6.
            Err(error) => {
                tracing::debug!(listener = %options.name, address = %other, %error, "address left out")
            }
        }
    }
    Ok((BoundListener { name: options.name.clone(), address }, sockets))
}

/// IPv4 first: what most clients try first, and what is printed.
fn addresses_of(options: &ListenerOptions) -> Result<Vec<SocketAddr>, ServerError> {
    if options.host.is_empty() {
        return Ok(vec![SocketAddr::from(([0u16; 8], options.port))]);
    }
    let host = options.host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses: Vec<SocketAddr> = (host, options.port)
        .to_socket_addrs()
        .map_err(|source| ServerError::Resolve {
            listener: options.name.clone(),
            host: options.host.clone(),
            source,
        })?
        .collect();
    addresses.sort_by_key(|address| (address.is_ipv6(), *address));
    addresses.dedup();
    Ok(addresses)
}

fn open(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The wildcard serves both families; a single IPv6 address is only itself.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn refused(options: &ListenerOptions, address: SocketAddr, source: io::Error) -> ServerError {
    let listener = options.name.clone();
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            ServerError::PortTaken { listener, address, holder: process::listener_of(address.port()) }
        }
        io::ErrorKind::PermissionDenied => ServerError::NotPermitted { listener, address },
        io::ErrorKind::AddrNotAvailable => ServerError::NotOurAddress { listener, address },
        _ => ServerError::Bind { listener, address, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(host: &str, port: u16) -> ListenerOptions {
        ListenerOptions { name: "PLAINTEXT".into(), host: host.into(), port }
    }

    #[test]
    fn a_taken_port_names_its_holder_and_the_cure() {
        let (bound, _sockets) = bind(&options("127.0.0.1", 0), 16).unwrap();
        let error = bind(&options("127.0.0.1", bound.address.port()), 16).unwrap_err().to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        assert!(error.contains("listen on another port"), "{error}");
    }

    #[test]
    fn an_empty_host_listens_on_every_interface() {
        let (bound, _sockets) = bind(&options("", 0), 16).unwrap();
        assert!(bound.address.ip().is_unspecified());
        std::net::TcpStream::connect(("127.0.0.1", bound.address.port())).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_the_cure() {
        let error = bind(&options("192.0.2.1", 0), 16).unwrap_err();
        assert!(matches!(error, ServerError::NotOurAddress { .. }), "{error}");
        assert!(error.to_string().contains("advertised.listeners"));
    }

    #[test]
    fn a_host_that_does_not_exist_is_named() {
        let error = bind(&options("no-such-host.invalid", 0), 16).unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    }
}
