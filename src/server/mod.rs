//! Sockets: listeners, connections, the order of replies, the memory that requests may hold, and the admin HTTP port.
//!
//! One acceptor hands sockets to data runtimes, one per core; a connection stays on its runtime and is one task there: it reads
//! frames, calls the [`Service`](crate::handlers::Service) for each in order, and writes the replies in the same order. No request
//! hops between threads or starts a task of its own.
//!
//! This room never looks into a request further than its API key, and knows nothing of topics, logs or metadata. It trusts no
//! stranger: a length allocates nothing before bytes arrive, every queue has a bound, a handler's panic ends one connection.
//!
//! Read first: [`connection`], then [`pipeline`] and [`frames`].

mod acceptor;
pub mod admin;
mod admission;
mod budget;
mod close_log;
mod connection;
mod deadlines;
mod foreign;
mod frames;
mod lifecycle;
mod listener;
pub mod options;
mod pipeline;
mod runtimes;

pub use lifecycle::{Bound, Server, Stopped};
pub use listener::{BoundListener, ServerError};
pub use options::{ListenerOptions, ServerOptions, Threading};
