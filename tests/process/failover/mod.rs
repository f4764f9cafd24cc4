//! Three brokers and one etcd: who leads when a broker dies, is silent, stops or drains.

mod brokers;
mod clients;
mod deaths;
mod ends;
