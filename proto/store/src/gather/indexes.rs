//! A set of the numbers 0 to 255.

/// A set of branches of one tally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indexes([u64; 4]);

impl Indexes {
    /// Adds a number; twice is once.
    pub fn insert(&mut self, index: u8) {
        self.0[usize::from(index / 64)] |= 1 << (index % 64);
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn contains(&self, index: u8) -> bool {
        self.0[usize::from(index / 64)] >> (index % 64) & 1 == 1
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

impl FromIterator<u8> for Indexes {
    fn from_iter<I: IntoIterator<Item = u8>>(numbers: I) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_place() {
        let set: Indexes = [0, 63, 64, 255, 255].into_iter().collect();
        assert_eq!(set.count(), 4);
        assert!((0..=255).all(|n| set.contains(n) == [0, 63, 64, 255].contains(&n)));
    }
}
