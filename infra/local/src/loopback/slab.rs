//! Numbered slots whose values can also stand in a list.

/// "No slot", where a link or a list may be empty.
pub(super) const NIL: usize = usize::MAX;

/// Above this many slots the memory of an emptied slab is given back.
const KEPT_SLOTS: usize = 1_024;

/// Values in numbered slots, each of which can stand in one [`List`] at a time.
///
/// Every operation takes constant time. That is why lists are links between
/// slots rather than queues of their own: a message that expires in the middle
/// of a backlog leaves it without a search.
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

struct Slot<T> {
    value: Option<T>,
    previous: usize,
    next: usize,
}

/// The two ends of a chain of slots.
#[derive(Clone, Copy)]
pub(super) struct List {
    head: usize,
    tail: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NIL, tail: NIL }
    }
}

impl List {
    pub(super) fn is_empty(self) -> bool {
        self.head == NIL
    }

    /// The first slot.
    pub(super) fn first(self) -> Option<usize> {
        (self.head != NIL).then_some(self.head)
    }
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> usize {
        let slot = Slot { value: Some(value), previous: NIL, next: NIL };
        match self.free.pop() {
            Some(index) => {
                self.slots[index] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    /// Takes the value out; it must not stand in a list any more.
    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        let value = self.slots.get_mut(index)?.value.take()?;
        self.free.push(index);
        if self.len() == 0 {
            self.slots.clear();
            self.free.clear();
            self.slots.shrink_to(KEPT_SLOTS);
            self.free.shrink_to(KEPT_SLOTS);
        }
        Some(value)
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.slots.get(index)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.slots.get_mut(index)?.value.as_mut()
    }

    /// The slot behind this one in its list.
    pub(super) fn next(&self, index: usize) -> Option<usize> {
        self.slots.get(index).map(|slot| slot.next).filter(|next| *next != NIL)
    }

    /// Puts a slot that stands in no list at the end of `list`.
    pub(super) fn push_back(&mut self, list: &mut List, index: usize) {
        self.slots[index].previous = list.tail;
        self.slots[index].next = NIL;
        match self.slots.get_mut(list.tail) {
            Some(tail) => tail.next = index,
            None => list.head = index,
        }
        list.tail = index;
    }

    /// Takes a slot that stands in `list` out of it.
    pub(super) fn unlink(&mut self, list: &mut List, index: usize) {
        let Slot { previous, next, .. } = self.slots[index];
        match self.slots.get_mut(previous) {
            Some(slot) => slot.next = next,
            None => list.head = next,
        }
        match self.slots.get_mut(next) {
            Some(slot) => slot.previous = previous,
            None => list.tail = previous,
        }
        self.slots[index].previous = NIL;
        self.slots[index].next = NIL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(slab: &Slab<char>, list: List) -> String {
        let mut next = list.first();
        let mut text = String::new();
        while let Some(index) = next {
            text.extend(slab.get(index));
            next = slab.next(index);
        }
        text
    }

    #[test]
    fn a_list_keeps_its_order_wherever_one_leaves() {
        for (leaving, rest) in [(0, "bcd"), (1, "acd"), (2, "abd"), (3, "abc")] {
            let (mut slab, mut list) = (Slab::new(), List::default());
            for value in "abcd".chars() {
                let index = slab.insert(value);
                slab.push_back(&mut list, index);
            }
            slab.unlink(&mut list, leaving);
            slab.remove(leaving);
            assert_eq!(values(&slab, list), rest);
            let again = slab.insert('e');
            assert_eq!(again, leaving, "a free slot is used again");
            slab.push_back(&mut list, again);
            assert_eq!(values(&slab, list), format!("{rest}e"));
        }
    }

    #[test]
    fn an_emptied_slab_gives_its_memory_back() {
        let mut slab = Slab::new();
        for value in 0..100_000 {
            slab.insert(value);
        }
        for index in 0..100_000 {
            assert_eq!(slab.remove(index), Some(index));
            assert_eq!(slab.remove(index), None);
        }
        assert_eq!(slab.len(), 0);
        assert!(slab.slots.capacity() <= KEPT_SLOTS);
    }
}
