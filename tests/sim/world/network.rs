//! What is on its way: between brokers, clients and etcd. Lost, late, repeated, out of order.

use super::{Event, World};
use crate::metadata::keys::Key;
use crate::metadata::txn::shapes;
use crate::sim::etcd::{self, Answer, Request};
use crate::sim::keys;
use crate::sim::message::{ClientAnswer, ClientRequest, Message, Refusal};
use crate::sim::process::REQUEST_TIMEOUT;
use crate::types::BrokerId;

impl World {
    pub(super) fn send(&mut self, from: Option<BrokerId>, to: BrokerId, message: Message) {
        let node = &self.nodes[&to];
        let Some(life) = node.process.as_ref().map(|process| process.life) else {
            let refused = node.up && from.is_none_or(|from| !self.net.cut.contains(&(from, to)));
            if refused && let Some(from) = from {
                self.refused(from, to);
            }
            return;
        };
        let lost = from.is_some_and(|from| self.net.cut.contains(&(from, to)));
        if lost || from.is_some() && self.random.chance(self.rates.lost) {
            return;
        }
        if self.rates.repeated > 0 && self.random.chance(self.rates.repeated) {
            let at = self.now + self.latency(40);
            self.at(at, Event::Message { to, from, life, message: message.clone() });
        }
        let at = self.now + self.latency(self.rates.slow);
        self.at(at, Event::Message { to, from, life, message });
    }

    /// `from` learns that the process on `dead` is gone.
    pub(super) fn refused(&mut self, from: BrokerId, dead: BrokerId) {
        if let Some(life) = self.nodes[&from].process.as_ref().map(|process| process.life)
            && !self.net.cut.contains(&(dead, from))
        {
            let message = Message::Refused { broker: dead };
            self.at(self.now + 2, Event::Message { to: from, from: Some(dead), life, message });
        }
    }

    pub(super) fn message(&mut self, to: BrokerId, from: Option<BrokerId>, life: u64, message: Message) {
        let there = self.nodes[&to].process.as_ref().is_some_and(|process| process.life == life);
        if !there {
            let node = &self.nodes[&to];
            if let Some(from) = from
                && node.process.is_none()
                && node.up
                && !matches!(message, Message::Refused { .. })
            {
                self.refused(from, to);
            }
            return;
        }
        self.act(to, Some(life), |process, _, context| process.received(message, context));
    }

    /// A client's request.
    pub fn client_sends(&mut self, to: BrokerId, request: ClientRequest) {
        let op = request.op;
        if self.nodes[&to].process.is_none() {
            let answer = ClientAnswer::Failed(Refusal::Lost);
            return self.at(self.now + 1, Event::Reply { op, answer });
        }
        self.send(None, to, Message::Client(request));
    }

    pub(super) fn ask_etcd(&mut self, node: BrokerId, life: u64, id: u64, mut request: Request) {
        self.compares_last_lifetime(node, life, &mut request);
        self.at(self.now + REQUEST_TIMEOUT, Event::Timeout { node, life, id });
        if self.net.no_requests.contains(&node) || self.random.chance(self.rates.etcd_lost) {
            return;
        }
        let (late, meddled_with) = self.change_is_late(&request);
        let at = self.now + 1 + late + self.latency(self.rates.etcd_slow);
        self.at(at, Event::Request { node, life, id, request });
        if let Some(partition) = meddled_with {
            self.meddle(node, partition);
        }
    }

    /// Before it registers, a process reads who did so last: one that is late must not tell what later ones know better (rule B2).
    fn compares_last_lifetime(&self, node: BrokerId, life: u64, request: &mut Request) {
        let (Request::Register { txn, .. }, Some(process)) = (request, &self.nodes[&node].process) else {
            return;
        };
        let last = self.etcd.changed(&keys().bytes(&Key::BrokerLast(process.id)));
        let incarnation = uuid::Uuid::from_u128(u128::from(life));
        *txn = shapes::as_last_lifetime(txn.clone(), keys(), process.id, incarnation, last);
    }

    pub(super) fn request(&mut self, node: BrokerId, life: u64, id: u64, request: Request) {
        if self.etcd.down {
            return;
        }
        if let Request::Revoke { lease } = &request {
            self.look_at_end(node, *lease);
        }
        let fence = match &request {
            Request::AsController { lease, epoch, .. } => Some((*lease, *epoch)),
            _ => None,
        };
        let stale = matches!(request, Request::ReadAll)
            && !self.etcd.snapshots.is_empty()
            && self.rates.hostile_watch > 0
            && self.random.chance(30);
        let answer = if stale {
            let older = usize::try_from(self.random.below(self.etcd.snapshots.len() as u64)).unwrap();
            etcd::read_all(&self.etcd.snapshots[older], self.etcd.generation)
        } else {
            self.etcd.handle(request, self.now)
        };
        self.etcd_has_written(fence);
        if self.net.no_answers.contains(&node) || self.random.chance(self.rates.etcd_lost) {
            return;
        }
        let after = match &answer {
            Answer::All { revision, .. } => self.etcd.after(*revision),
            _ => 0,
        };
        let at = self.now + self.latency(self.rates.etcd_slow);
        self.at(at, Event::Answer { node, life, id, answer, after });
    }

    /// The checker and the watches take what was written.
    pub fn etcd_has_written(&mut self, fence: Option<(i64, i64)>) {
        let writes = std::mem::take(&mut self.etcd.written);
        if writes.is_empty() {
            return;
        }
        if self.trace.is_on() {
            for write in &writes {
                let key = String::from_utf8_lossy(&write.key).into_owned();
                let value = write.value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
                self.note(|| format!("  etcd {}: {key} = {value:?}", write.revision));
            }
        }
        self.checker.written(&writes, &self.etcd, &mut self.nodes, self.topic, fence);
        let ids: Vec<BrokerId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.notify(id);
        }
        self.evidence_wears_off();
    }

    /// A watch event is on its way to a broker that is behind.
    pub(super) fn notify(&mut self, id: BrokerId) {
        let Some(process) = &self.nodes[&id].process else { return };
        let life = process.life;
        let end = (self.etcd.generation, self.etcd.history.len());
        let behind = process.cursor.is_some_and(|cursor| (process.generation, cursor) != end);
        if behind && self.watching.insert(id) {
            let at = self.now + self.latency(self.rates.etcd_slow);
            self.at(at, Event::Watch { node: id, life });
        }
    }

    pub(super) fn watch(&mut self, id: BrokerId, life: u64) {
        self.watching.remove(&id);
        if self.etcd.down || self.net.no_answers.contains(&id) {
            return; // the next tick asks again
        }
        let process = self.nodes[&id].process.as_ref().filter(|process| process.life == life);
        let Some((process, cursor)) = process.and_then(|process| Some((process, process.cursor?))) else {
            return;
        };
        let (end, generation) = (self.etcd.history.len(), self.etcd.generation);
        if process.generation != generation && process.image.revision <= self.etcd.state.revision {
            // The stream ended with the etcd of before. It is opened anew from where the image stands, and that is all it knows.
            let after = self.etcd.after(process.image.revision);
            self.act(id, Some(life), |process, _, _| process.watches(after, generation));
            return self.notify(id);
        }
        let behind = process.generation != generation;
        let compacted =
            self.etcd.history.get(cursor).is_some_and(|next| next.mod_revision < self.etcd.compacted);
        if compacted || behind || cursor > end {
            return self
                .act(id, Some(life), |process, _, context| process.watch_lost(end, generation, context));
        }
        let hostile = self.rates.hostile_watch > 0 && self.random.chance(self.rates.hostile_watch);
        let mut from = cursor;
        let mut until = end;
        if self.rates.jitter && self.random.chance(30) && end > cursor {
            // Only a part for now: whole revisions.
            until = cursor + 1 + usize::try_from(self.random.below((end - cursor) as u64)).unwrap();
            until = self.etcd.after(self.etcd.history[until - 1].mod_revision);
        }
        let mut events = self.etcd.history[cursor..until].to_vec();
        if hostile {
            match self.random.below(3) {
                0 => events.clear(),
                1 => {
                    from = from.saturating_sub(usize::try_from(self.random.below(6)).unwrap());
                    events = self.etcd.history[from..until].to_vec();
                }
                _ => {
                    // A later one first: what comes behind it is old for the image.
                    events.reverse();
                    let rest = events.split_off(events.len().min(1));
                    self.act(id, Some(life), |process, _, context| process.watched(&events, until, context));
                    events = rest;
                }
            }
        }
        self.act(id, Some(life), |process, _, context| process.watched(&events, until, context));
        self.notify(id);
    }
}
