//! The `uniform` assignor: members have equally many partitions, and keep what they have where that allows it.
//!
//! As `org.apache.kafka.coordinator.group.assignor.UniformAssignor` promises it, by other means. If all members subscribe the same
//! topics, the numbers differ by at most one, and exactly as many partitions move as must. Otherwise no single partition could move to a
//! member that has at least two less.

use super::audience::Audience;
use super::layout::{Layout, MemberIndex, Place};
use super::racks::Racks;
use super::{Assignment, GroupSpec};

mod mixed;

/// Its name in `group.consumer.assignors` and `group.remote.assignor`.
pub const NAME: &str = "uniform";

/// Assigns the group.
///
/// # Cost
/// O((partitions + members) log topics) if all members subscribe the same topics. Else each round costs
/// O(partitions log members + topics x subscribers); there is rarely a third one.
#[must_use]
pub fn assign(spec: &GroupSpec<'_>) -> Assignment {
    let audience = Audience::new(spec.members.values());
    if audience.is_alike() { assign_alike(spec, &audience) } else { mixed::assign(spec, &audience) }
}

/// Everybody subscribes the same topics.
fn assign_alike(spec: &GroupSpec<'_>, audience: &Audience) -> Assignment {
    let layout = Layout::new(spec, |topic| audience.reads(topic));
    let racks = Racks::new(spec, &layout);
    let mut kept = Kept::new(spec, &layout, |_, _| true);
    let quotas = quotas(&kept.owned, layout.len());
    for ((member, owned), quota) in kept.owned.iter_mut().enumerate().zip(&quotas) {
        let near = |place| racks.as_ref().is_some_and(|racks| racks.near(member, place));
        for place in give_up(owned, *quota, near) {
            kept.taken.set(place, false);
        }
    }
    let free = kept.taken.free();
    let seats = seats(&kept.owned, &quotas);
    let seated = match racks {
        Some(racks) => racks.seat(&free, &seats),
        None => free.into_iter().zip(seats).collect(),
    };
    for (place, member) in seated {
        if let Some(owned) = kept.owned.get_mut(member) {
            owned.push(place);
        }
    }
    layout.assignment(spec, kept.owned)
}

/// What members have and may keep. A partition that two claim is kept by the first.
struct Kept {
    owned: Vec<Vec<Place>>,
    taken: Taken,
}

impl Kept {
    fn new(spec: &GroupSpec<'_>, layout: &Layout<'_>, may_keep: impl Fn(MemberIndex, Place) -> bool) -> Self {
        let mut taken = Taken(vec![false; layout.len()]);
        let owned = spec.members.values().enumerate().map(|(index, member)| {
            let mine = layout.places_of(member.current).filter(|place| may_keep(index, *place));
            mine.filter(|place| taken.set(*place, true)).collect()
        });
        Self { owned: owned.collect(), taken }
    }
}

/// Which partitions have an owner.
struct Taken(Vec<bool>);

impl Taken {
    /// Whether that changed anything.
    fn set(&mut self, place: Place, taken: bool) -> bool {
        self.0.get_mut(place).is_some_and(|now| std::mem::replace(now, taken) != taken)
    }

    fn free(&self) -> Vec<Place> {
        self.0.iter().enumerate().filter(|(_, taken)| !**taken).map(|(place, _)| place).collect()
    }
}

/// How many partitions each member gets. The extra ones go to members that would else give one up, then to the first ones.
fn quotas(owned: &[Vec<Place>], partitions: usize) -> Vec<usize> {
    let members = owned.len().max(1);
    let (least, mut extra) = (partitions / members, partitions % members);
    let mut quotas = vec![least; owned.len()];
    for would_lose in [true, false] {
        for (quota, owned) in quotas.iter_mut().zip(owned) {
            if extra > 0 && (owned.len() > least) == would_lose {
                *quota += 1;
                extra -= 1;
            }
        }
    }
    quotas
}

/// Takes from `owned` what is more than `quota`: first what is not near, and evenly over the row, so that no topic is given up whole.
fn give_up(owned: &mut Vec<Place>, quota: usize, near: impl Fn(Place) -> bool) -> Vec<Place> {
    let surplus = owned.len().saturating_sub(quota);
    if surplus == 0 {
        return Vec::new();
    }
    let far_ones = owned.iter().filter(|place| !near(**place)).count();
    let mut far = Spread::new(surplus.min(far_ones), far_ones);
    let mut close = Spread::new(surplus - surplus.min(far_ones), owned.len() - far_ones);
    owned.extract_if(.., |place| if near(*place) { close.next() } else { far.next() }).collect()
}

/// Picks `picks` of `of` items, evenly spread.
struct Spread {
    picks: usize,
    of: usize,
    seen: usize,
}

impl Spread {
    const fn new(picks: usize, of: usize) -> Self {
        Self { picks, of, seen: 0 }
    }

    const fn next(&mut self) -> bool {
        let before = self.seen * self.picks / self.of;
        self.seen += 1;
        self.seen * self.picks / self.of > before
    }
}

/// The members that take partitions, each as often as it has room, turn by turn.
fn seats(owned: &[Vec<Place>], quotas: &[usize]) -> Vec<MemberIndex> {
    let room =
        |(member, (owned, quota)): (_, (&Vec<Place>, &usize))| (member, quota.saturating_sub(owned.len()));
    let mut open: Vec<_> = owned.iter().zip(quotas).enumerate().map(room).collect();
    let mut seats = Vec::new();
    loop {
        open.retain(|(_, room)| *room > 0);
        if open.is_empty() {
            return seats;
        }
        for (member, room) in &mut open {
            seats.push(*member);
            *room -= 1;
        }
    }
}
