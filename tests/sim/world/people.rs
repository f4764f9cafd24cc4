//! What people do to a running cluster: they configure a topic, they copy a disk.

use super::{Event, World};
use crate::metadata::image::ConfigEntity;
use crate::metadata::keys::{ConfigValue, Key, Record};
use crate::metadata::txn::GuardedTxn;
use crate::sim::etcd::Request;
use crate::sim::process::MIN_ISR;
use crate::sim::{keys, topic_name};
use crate::types::BrokerId;

/// Where a copied disk is started: no broker has that number.
const COPY: BrokerId = BrokerId(9);

#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// `min.insync.replicas` of the topic.
    MinIsr(usize),
    /// The disk of a broker is copied, and a process started on the copy.
    Copy(BrokerId),
    /// The copy is found out and removed.
    CopyEnds,
}

impl World {
    /// All brokers; a copy is none.
    pub fn brokers(&self) -> Vec<BrokerId> {
        self.nodes.iter().filter(|(id, node)| **id == node.id).map(|(id, _)| *id).collect()
    }

    pub(super) fn do_deed(&mut self, deed: Deed) {
        match deed {
            _ if self.chaos.is_none() => {} // every fault has ended
            Deed::MinIsr(min) => self.configure(min),
            Deed::Copy(id) => {
                self.copy_disk(id.get(), COPY.get());
                self.start(COPY);
                let at = self.now + 1_500;
                self.at(at, Event::Deed(Deed::CopyEnds));
            }
            Deed::CopyEnds => self.remove_copy(),
        }
    }

    /// Sets `min.insync.replicas`: whoever sees it in its image goes by it.
    pub fn configure(&mut self, min: usize) {
        let entries = [(MIN_ISR.to_owned(), min.to_string())].into();
        let key = keys().bytes(&Key::Config(ConfigEntity::Topic(topic_name())));
        let change = GuardedTxn::new("configuration").put(key, Record::new(ConfigValue { entries }).encode());
        let now = self.now;
        self.note(|| format!("-- {MIN_ISR}={min}"));
        self.checker.configured(min);
        self.etcd.handle(Request::Txn(change), now);
        self.etcd_has_written(None);
    }

    /// A copy that has got so far as to register would be taken for its original by whoever looks at logs by broker: it ends there.
    pub(super) fn look_at_copy(&mut self, id: BrokerId) {
        let registered = self.nodes[&id].process.as_ref().is_some_and(|process| process.held().is_some());
        if id == COPY && registered && self.chaos.is_some() {
            self.remove_copy();
        }
    }

    /// A copy is gone, and whatever concerned it.
    pub fn remove_copy(&mut self) {
        if self.nodes.remove(&COPY).is_some() {
            self.backlog.remove(&COPY);
            self.watching.remove(&COPY);
            self.queue.retain(|_, event| !concerns(event, COPY));
        }
    }

    /// Rule B7: nobody ends the session of a process that is there, but itself or who has seen it dead.
    pub(super) fn look_at_end(&mut self, by: BrokerId, lease: i64) {
        let holds = |id: &BrokerId| {
            let process = self.nodes[id].process.as_ref();
            process.and_then(|process| process.held()).is_some_and(|held| held.lease == lease)
        };
        let whose = self.nodes.keys().find(|id| **id != by && holds(id));
        if let Some(whose) = whose.copied() {
            self.checker.say(format!(
                "the process on host {by} ends the session of the one on host {whose} (rule B7)"
            ));
        }
    }
}

fn concerns(event: &Event, id: BrokerId) -> bool {
    match event {
        Event::Tick { node, .. }
        | Event::Request { node, .. }
        | Event::Answer { node, .. }
        | Event::Timeout { node, .. }
        | Event::Watch { node, .. }
        | Event::PowerAtClose { node }
        | Event::Start { node } => *node == id,
        Event::Message { to, from, .. } => *to == id || *from == Some(id),
        _ => false,
    }
}
