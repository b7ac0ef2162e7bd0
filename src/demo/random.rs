//! Repeatable random numbers, the same on every machine: SplitMix64, after Vigna's public-domain description.

/// Which series of numbers a draw belongs to, so that changing one resource leaves all others as they were.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Layout = 1,
    Payer,
    Provider,
    Network,
    Endpoint,
    Site,
    Service,
    Plan,
    Affiliation,
    Person,
    Practitioner,
    Role,
}

#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

/// The step of the SplitMix64 counter: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    /// The numbers for item `index` of `stream`; they depend on nothing drawn before.
    pub(super) const fn new(seed: u64, stream: Stream, index: usize) -> Self {
        let base = mix(seed.wrapping_add((stream as u64).wrapping_mul(STEP)));
        Self { state: mix(base ^ (index as u64).wrapping_mul(STEP)) }
    }

    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number in `0..bound`; 0 for an empty range.
    pub(super) const fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * bound as u64) >> 32) as u32
    }

    /// A number in `low..=high`.
    pub(super) const fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    pub(super) const fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, all equally likely; the default of an empty list.
    pub(super) fn pick<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let index = self.below(u32::try_from(items.len()).unwrap_or(u32::MAX));
        items.get(index as usize).copied().unwrap_or_default()
    }

    /// The index of one of `items`, as likely as its weight says; 0 for an empty list.
    pub(super) fn weighted<T>(&mut self, items: &[T], weight: impl Fn(&T) -> u32) -> usize {
        let mut rest = self.below(items.iter().map(&weight).sum());
        for (index, item) in items.iter().enumerate() {
            let share = weight(item);
            if rest < share {
                return index;
            }
            rest -= share;
        }
        0
    }

    /// A day between the first of January of `from` and the 28th of December of `to`, as `YYYY-MM-DD`.
    pub(super) fn date(&mut self, from: u32, to: u32) -> String {
        let (year, month, day) = (self.between(from, to), self.between(1, 12), self.between(1, 28));
        format!("{year:04}-{month:02}-{day:02}")
    }
}

/// The output function of SplitMix64.
const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
