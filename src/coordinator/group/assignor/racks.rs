//! Which members are near which partitions.

use std::collections::{BTreeMap, VecDeque};

use super::GroupSpec;
use super::layout::{Layout, MemberIndex, Place};

/// The racks of members and partitions, if both are known.
pub struct Racks<'a> {
    members: Vec<Option<&'a str>>,
    partitions: Vec<&'a [&'a str]>,
}

impl<'a> Racks<'a> {
    /// `None` if no member, or no topic of the layout, has racks.
    pub fn new(spec: &GroupSpec<'a>, layout: &Layout<'a>) -> Option<Self> {
        let members: Vec<_> = spec.members.values().map(|member| member.rack).collect();
        let known = members.iter().any(Option::is_some)
            && layout.topics.iter().any(|topic| !topic.spec.racks.is_empty());
        known.then(|| {
            let racks = |topic: &super::layout::LaidTopic<'a>| {
                let racks = topic.spec.racks.iter().map(Vec::as_slice);
                racks.chain(std::iter::repeat(&[][..])).take(topic.places().len())
            };
            Self { members, partitions: layout.topics.iter().flat_map(racks).collect() }
        })
    }

    /// Whether a replica of `place` is in the rack of `member`.
    pub fn near(&self, member: MemberIndex, place: Place) -> bool {
        let rack = self.members.get(member).copied().flatten();
        rack.is_some_and(|rack| self.of(place).contains(&rack))
    }

    fn of(&self, place: Place) -> &[&'a str] {
        self.partitions.get(place).copied().unwrap_or_default()
    }

    /// Gives `places` to `seats` (members, each as often as it takes a partition; as many as places), as many as easily possible to a
    /// member that is near: each to the rack of its replicas that has most seats left. Those that find none take what is left, in order.
    pub fn seat(&self, places: &[Place], seats: &[MemberIndex]) -> Vec<(Place, MemberIndex)> {
        let mut by_rack: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
        for (seat, member) in seats.iter().enumerate() {
            if let Some(rack) = self.members.get(*member).copied().flatten() {
                by_rack.entry(rack).or_default().push_back(seat);
            }
        }
        let mut taken = vec![false; seats.len()];
        let mut seated = Vec::with_capacity(places.len());
        let mut far = Vec::new();
        for place in places {
            let room = |rack: &&&str| by_rack.get(**rack).map_or(0, VecDeque::len);
            let best = self.of(*place).iter().filter(|rack| room(rack) > 0).max_by_key(room).copied();
            let seat = best.and_then(|rack| by_rack.get_mut(rack)?.pop_front());
            match seat.and_then(|seat| Some((seats.get(seat)?, taken.get_mut(seat)?))) {
                Some((member, taken)) => {
                    *taken = true;
                    seated.push((*place, *member));
                }
                None => far.push(*place),
            }
        }
        let left = seats.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(member, _)| *member);
        seated.extend(far.into_iter().zip(left));
        seated
    }
}
