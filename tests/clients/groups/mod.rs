//! Consumer groups as real clients see them: what must be true, for every way in which a client joins.
//!
//! Read `member.rs` first: a member consumes in the background inside its client's program and keeps what happens to it; a
//! case looks at that. Most of a case is waiting for rebalances, so a case runs its flavours at the same time
//! ([`flavour::everywhere`]).

pub mod flavour;
pub mod member;

mod admin;
mod broker_dies;
mod dying;
mod many;
mod migration;
mod pattern;
mod sharing;
mod static_members;
mod tools;
