//! Drawing elements of a collection at random: HRANDFIELD, SRANDMEMBER, SPOP, ZRANDMEMBER.
//!
//! Elements are drawn by rank, so every one is as likely as any other, however the collection is held.
//! Distinct ranks are drawn by Floyd's method (Bentley and Floyd 1987): as many draws as ranks, whatever the
//! size of the collection.
//!
//! Not here: what is at a rank (`types/`).

use crate::base::limits::DRAWN_ELEMENTS_MAX;
use crate::base::map::HashSet;
use crate::base::prng::Prng;
use crate::engine::shard::integer;
use crate::resp::error::ErrorKind;

/// How many elements a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// At most so many, no two the same.
    Distinct(u64),
    /// Exactly so many, each drawn from all.
    Repeated(u64),
}

impl Count {
    /// A negative number asks for repeated ones.
    pub fn parse(word: &[u8]) -> Result<Self, ErrorKind> {
        match integer(word)? {
            i64::MIN => Err(ErrorKind::NotBetween { low: -i64::MAX, high: i64::MAX }),
            number if number < 0 => Ok(Self::Repeated(number.unsigned_abs())),
            number => Ok(Self::Distinct(number.unsigned_abs())),
        }
    }

    /// Can twice as many be told?
    pub fn doubled(self) -> Result<Self, ErrorKind> {
        let (Self::Distinct(count) | Self::Repeated(count)) = self;
        if count > i64::MAX.unsigned_abs() / 2 { Err(ErrorKind::OutOfRange) } else { Ok(self) }
    }
}

/// The rank of one of `len` elements; 0 if there is none.
pub fn rank(prng: &mut Prng, len: usize) -> usize {
    usize::try_from(prng.below(len.max(1) as u64)).unwrap_or(0)
}

/// The ranks of what is drawn from `len` elements.
///
/// # Errors
/// Where more than `DRAWN_ELEMENTS_MAX` repeated ones are asked for: a few bytes of request must not
/// cost any number of bytes of reply.
pub fn ranks(prng: &mut Prng, count: Count, len: usize) -> Result<Vec<usize>, ErrorKind> {
    match count {
        _ if len == 0 => Ok(Vec::new()),
        Count::Repeated(count) if count > DRAWN_ELEMENTS_MAX => Err(ErrorKind::OutOfRange),
        Count::Repeated(count) => Ok((0..count).map(|_| rank(prng, len)).collect()),
        Count::Distinct(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if count >= len {
                return Ok((0..len).collect());
            }
            let (mut ranks, mut drawn) = (Vec::with_capacity(count), HashSet::default());
            for last in len - count..len {
                let one = rank(prng, last + 1);
                let one = if drawn.insert(one) { one } else { last };
                drawn.insert(one);
                ranks.push(one);
            }
            Ok(ranks)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_redis_reads_them() {
        assert_eq!(Count::parse(b"3"), Ok(Count::Distinct(3)));
        assert_eq!(Count::parse(b"-3"), Ok(Count::Repeated(3)));
        assert_eq!(Count::parse(b"x"), Err(ErrorKind::NotAnInteger));
        assert!(Count::parse(b"-9223372036854775808").is_err());
        assert!(Count::parse(b"9223372036854775807").unwrap().doubled().is_err());
    }

    /// Each of 20 elements is drawn as often as any other, within five standard deviations.
    #[test]
    fn every_element_is_as_likely_as_any_other() {
        let mut prng = Prng::new(1);
        for count in
            [Count::Distinct(1), Count::Distinct(7), Count::Distinct(19), Count::Repeated(7)]
        {
            let (mut times, rounds) = ([0_u32; 20], 20_000);
            let mut drawn = 0;
            for _ in 0..rounds {
                let ranks = ranks(&mut prng, count, 20).unwrap();
                if let Count::Distinct(count) = count {
                    let different: HashSet<usize> = ranks.iter().copied().collect();
                    assert_eq!(different.len() as u64, count);
                }
                drawn += ranks.len();
                ranks.iter().for_each(|&rank| times[rank] += 1);
            }
            let mean = drawn as f64 / 20.0;
            let most = times.iter().map(|&it| (f64::from(it) - mean).abs()).fold(0.0, f64::max);
            assert!(most < 5.0 * mean.sqrt(), "{count:?}: {times:?}");
        }
        assert_eq!(ranks(&mut prng, Count::Distinct(30), 3), Ok(vec![0, 1, 2]));
        assert_eq!(ranks(&mut prng, Count::Repeated(30), 0), Ok(vec![]));
        assert!(ranks(&mut prng, Count::Repeated(DRAWN_ELEMENTS_MAX + 1), 3).is_err());
    }
}
