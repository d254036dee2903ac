//! `math.random` and `math.randomseed`: the 48-bit generator that scripts have on every server.
//!
//! ```text
//!   x = x * 0x5DEECE66D + 0xB  mod 2^48        a draw: the upper 31 bits
//! ```

use crate::script::lua::{Frame, Raised};

/// The generator's state; a script can set it, and it goes on over scripts.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

const MASK: u64 = (1 << 48) - 1;
const DRAW_MAX: u64 = (1 << 31) - 1;

impl Default for Random {
    fn default() -> Self {
        Self(0x1234_abcd_330e)
    }
}

impl Random {
    fn seeded(seed: i32) -> Self {
        Self((u64::from(seed.cast_unsigned()) << 16) + 0x330e)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & MASK;
        self.0 >> 17
    }
}

#[expect(clippy::cast_possible_truncation, reason = "as C casts")]
fn int(frame: Frame<'_>, at: i32) -> Result<i32, Raised> {
    Ok(frame.need_integer(at)? as i32)
}

pub(super) fn random(frame: Frame<'_>) -> Result<i32, Raised> {
    let draw = frame.run(|run| run.random.draw());
    #[expect(clippy::cast_precision_loss, reason = "31 bits")]
    let unit = (draw % DRAW_MAX) as f64 / DRAW_MAX as f64;
    let number = match frame.top() {
        0 => unit,
        1 => {
            let upper = int(frame, 1)?;
            if upper < 1 {
                return Err(frame.bad_argument(1, "interval is empty"));
            }
            (unit * f64::from(upper)).floor() + 1.0
        }
        2 => {
            let (lower, upper) = (int(frame, 1)?, int(frame, 2)?);
            if lower > upper {
                return Err(frame.bad_argument(2, "interval is empty"));
            }
            let width = upper.wrapping_sub(lower).wrapping_add(1);
            (unit * f64::from(width)).floor() + f64::from(lower)
        }
        _ => return Err(Raised::said("wrong number of arguments")),
    };
    frame.push_number(number);
    Ok(1)
}

pub(super) fn randomseed(frame: Frame<'_>) -> Result<i32, Raised> {
    let seed = int(frame, 1)?;
    frame.run(|run| run.random = Random::seeded(seed));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_lrand48s() {
        // glibc: srand48(42); lrand48() thrice.
        let mut random = Random::seeded(42);
        assert_eq!(
            [random.draw(), random.draw(), random.draw()],
            [1_598_855_263, 735_945_821, 238_553_827]
        );
    }
}
