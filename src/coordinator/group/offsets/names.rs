//! Names that many entries use, each kept once and numbered, so that an entry holds a number.

use std::collections::BTreeMap;

use crate::coordinator::group::command::Name;

/// Names by number and numbers by name. A number is given again when nobody uses it any more.
#[derive(Debug)]
pub(super) struct Names<T> {
    numbers: BTreeMap<Name, u32>,
    slots: Vec<Option<Slot<T>>>,
    free: Vec<u32>,
}

/// A name in use.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pub(super) name: Name,
    /// What else is known of it.
    pub(super) about: T,
    uses: u32,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Names<T> {
    /// The number of `name`, which has one only while it is in use.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The number of `name`, if it has none yet a new one. It stays in use only if [`Names::take`] follows.
    pub(super) fn number_or_new(&mut self, name: &Name) -> u32 {
        if let Some(number) = self.number(name) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("memory ends before four billion names")
        });
        self.numbers.insert(name.clone(), number);
        if let Some(slot) = self.slots.get_mut(number as usize) {
            *slot = Some(Slot { name: name.clone(), about: T::default(), uses: 0 });
        }
        number
    }

    /// One more use.
    pub(super) fn take(&mut self, number: u32) {
        if let Some(slot) = self.slot_mut(number) {
            slot.uses += 1;
        }
    }

    /// One use less; after the last one the name is forgotten.
    pub(super) fn release(&mut self, number: u32) {
        let Some(slot) = self.slot_mut(number) else { return };
        slot.uses -= 1;
        if slot.uses > 0 {
            return;
        }
        if let Some(slot) = self.slots.get_mut(number as usize).and_then(Option::take) {
            self.numbers.remove(&slot.name);
            self.free.push(number);
        }
    }

    pub(super) fn slot(&self, number: u32) -> Option<&Slot<T>> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(super) fn slot_mut(&mut self, number: u32) -> Option<&mut Slot<T>> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    /// All names in use, in order, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, u32)> {
        self.numbers.iter().map(|(name, number)| (name, *number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_while_it_is_used_and_its_number_is_given_again() {
        let mut names = Names::<()>::default();
        let a = names.number_or_new(&"a".into());
        names.take(a);
        names.take(a);
        assert_eq!(names.number_or_new(&"a".into()), a);
        names.release(a);
        assert_eq!(names.number("a"), Some(a));
        names.release(a);
        assert_eq!(names.number("a"), None);
        let b = names.number_or_new(&"b".into());
        assert_eq!(b, a);
        assert_eq!(&*names.slot(b).unwrap().name, "b");
    }
}
