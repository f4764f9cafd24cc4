//! `uniform` for members that subscribe different topics.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;

use super::super::audience::Audience;
use super::super::layout::{Layout, MemberIndex, Place};
use super::super::racks::Racks;
use super::super::{Assignment, GroupSpec};
use super::Kept;

/// Rounds of levelling. Each round levels every topic; only long chains of overlapping subscriptions need many.
const ROUNDS_MAX: usize = 64;

/// Gives free partitions to their least loaded subscribers, those of topics with few subscribers first, then moves partitions from the
/// most to the least loaded subscriber of a topic while that makes the two more equal.
pub(super) fn assign(spec: &GroupSpec<'_>, audience: &Audience) -> Assignment {
    let layout = Layout::new(spec, |topic| audience.reads(topic));
    let mut state = State::new(spec, &layout);
    for (members, topics) in audience.kinds() {
        state.fill(topics.iter().flat_map(|topic| layout.topic(*topic)), &members);
    }
    for _ in 0..ROUNDS_MAX {
        let mut moved = 0;
        for (members, topics) in audience.kinds().filter(|(members, _)| members.len() > 1) {
            for topic in topics {
                moved += state.level(layout.topic(*topic), &members);
            }
        }
        if moved == 0 {
            break;
        }
    }
    if let Some(racks) = Racks::new(spec, &layout) {
        layout.topics.iter().for_each(|topic| state.exchange(topic.places(), &racks));
    }
    let mut owned = vec![Vec::new(); spec.members.len()];
    for (place, owner) in state.owners.iter().enumerate() {
        if let Some(places) = owner.and_then(|owner| owned.get_mut(owner)) {
            places.push(place);
        }
    }
    layout.assignment(spec, owned)
}

/// Who has what by now.
struct State {
    owners: Vec<Option<MemberIndex>>,
    before: Vec<Option<MemberIndex>>,
    loads: Vec<usize>,
}

impl State {
    fn new(spec: &GroupSpec<'_>, layout: &Layout<'_>) -> Self {
        let members: Vec<_> = spec.members.values().collect();
        let topic_of: Vec<_> = layout.topics.iter().flat_map(|t| t.places().map(|_| t.id)).collect();
        let kept = Kept::new(spec, layout, |member, place| {
            let topic = topic_of.get(place);
            topic.is_some_and(|topic| members.get(member).is_some_and(|m| m.subscribed.contains(topic)))
        });
        let mut owners = vec![None; layout.len()];
        for (member, places) in kept.owned.iter().enumerate() {
            for place in places {
                if let Some(owner) = owners.get_mut(*place) {
                    *owner = Some(member);
                }
            }
        }
        let loads = kept.owned.iter().map(Vec::len).collect();
        Self { before: owners.clone(), owners, loads }
    }

    fn load(&self, member: MemberIndex) -> usize {
        self.loads.get(member).copied().unwrap_or_default()
    }

    fn owner(&self, place: Place) -> Option<MemberIndex> {
        self.owners.get(place).copied().flatten()
    }

    fn give(&mut self, place: Place, to: MemberIndex) {
        if let Some(load) = self.owner(place).and_then(|from| self.loads.get_mut(from)) {
            *load -= 1;
        }
        if let Some(load) = self.loads.get_mut(to) {
            *load += 1;
        }
        if let Some(owner) = self.owners.get_mut(place) {
            *owner = Some(to);
        }
    }

    /// Gives those of `places` that are free to the least loaded of their subscribers.
    fn fill(&mut self, places: impl Iterator<Item = Place>, subscribers: &[MemberIndex]) {
        let free: Vec<_> = places.filter(|place| self.owner(*place).is_none()).collect();
        if free.is_empty() {
            return;
        }
        let mut least: BinaryHeap<_> = subscribers.iter().map(|m| Reverse((self.load(*m), *m))).collect();
        for place in free {
            let Some(mut top) = least.peek_mut() else { return };
            let Reverse((load, member)) = &mut *top;
            *load += 1;
            self.give(place, *member);
        }
    }

    /// Moves partitions of a topic from its most to its least loaded subscriber until they differ by less than two. Returns how many.
    fn level(&mut self, topic: Range<Place>, subscribers: &[MemberIndex]) -> usize {
        let least = subscribers.iter().map(|m| self.load(*m)).min().unwrap_or_default();
        let most = topic.clone().filter_map(|place| self.owner(place)).map(|m| self.load(m)).max();
        if most.unwrap_or_default() < least + 2 {
            return 0;
        }
        let mut owned: BTreeMap<MemberIndex, Vec<Place>> = BTreeMap::new();
        for place in topic {
            if let Some(owner) = self.owner(place) {
                owned.entry(owner).or_default().push(place);
            }
        }
        let mut takers: BTreeSet<_> = subscribers.iter().map(|m| (self.load(*m), *m)).collect();
        let mut givers: BTreeSet<_> = owned.keys().map(|m| (self.load(*m), *m)).collect();
        let mut moved = 0;
        while let (Some(&(most, giver)), Some(&(least, taker))) = (givers.last(), takers.first()) {
            if most < least + 2 {
                break;
            }
            let places = owned.get_mut(&giver);
            let Some(place) = places.and_then(Vec::pop) else {
                givers.remove(&(most, giver));
                continue;
            };
            self.give(place, taker);
            moved += 1;
            takers.remove(&(most, giver));
            takers.insert((most - 1, giver));
            takers.remove(&(least, taker));
            takers.insert((least + 1, taker));
            givers.remove(&(most, giver));
            givers.insert((most - 1, giver));
            if givers.remove(&(least, taker)) {
                givers.insert((least + 1, taker));
            }
        }
        moved
    }

    /// Among the partitions of a topic that change hands, exchanges owners so that more of them are near.
    fn exchange(&mut self, topic: Range<Place>, racks: &Racks<'_>) {
        let changed = topic.filter(|p| self.before.get(*p).copied().flatten() != self.owner(*p));
        let (places, seats): (Vec<_>, Vec<_>) =
            changed.filter_map(|place| Some((place, self.owner(place)?))).unzip();
        for (place, member) in racks.seat(&places, &seats) {
            self.give(place, member);
        }
    }
}
