//! The nouns of the product: identifiers, offsets, epochs, names, time.
//!
//! Every number with a meaning has a type of its own, so that swapping two of them does not compile. Kafka's "-1 means none"
//! becomes `Option` at the wire's edge and never travels further in. This room knows no other room and does no I/O; it is also
//! the only caller of the system clocks and of random numbers ([`clock`], [`random`]).
//!
//! Read first: [`ids`].

pub mod clock;
pub mod ids;
pub mod names;
pub mod random;
pub mod seeded;

pub use clock::{Clock, Millis};
pub use ids::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, PartitionEpoch, Position, ProducerEpoch,
    ProducerId, TopicId,
};
pub use names::{InvalidTopicName, TopicName, TopicPartition};
