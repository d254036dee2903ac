//! Random numbers that follow from what they are for, and two conversions.
//!
//! Not `base::prng`: that one has state, and here any request must be drawn again without those
//! before it.

/// The random numbers of one request: splitmix64, seeded by what names the request. Cheap enough to
/// make one per request, and any request can be drawn again without those before it.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The stream of connection `connection`; one multiplication more gives each request's.
    #[must_use]
    pub fn stream(seed: u64, connection: u64) -> u64 {
        mix(mix(seed).wrapping_add(connection.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    #[must_use]
    pub fn new(stream: u64, request: u64) -> Self {
        Self(stream ^ request.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `bound`, evenly; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product; clippy sees that it fits.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// In `0.0..1.0`, 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Seconds as nanoseconds.
#[must_use]
pub fn nanoseconds(seconds: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "checked plans stay below a year")]
    let ns = (seconds * 1e9) as u64;
    ns
}

/// A count as an index; lossless where memory is addressed with 64 bits.
#[must_use]
pub fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_draws_the_same_numbers_whatever_was_drawn_before() {
        let draw = |seed, connection, request| {
            Draw::new(Draw::stream(seed, connection), request).next_u64()
        };
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        let all: Vec<u64> = (0..4)
            .flat_map(|seed| (0..4).flat_map(move |c| (0..4).map(move |k| draw(seed, c, k))))
            .collect();
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), all.len());
    }
}
