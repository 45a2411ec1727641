//! Whose turn it is: everybody once a round, in an order that changes and is the same in every run
//! of the benchmark.

/// Orders for any number of rounds.
#[derive(Debug)]
pub struct Turns {
    state: u64,
}

impl Turns {
    /// From the start.
    pub fn new() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15 } // any number but 0
    }

    /// Puts items in the order of the next round (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let chosen = self.next() % (last as u64 + 1);
            items.swap(last, chosen as usize);
        }
    }

    /// Marsaglia's xorshift.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}
